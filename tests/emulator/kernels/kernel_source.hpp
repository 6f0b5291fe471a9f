// SPDX-License-Identifier: Apache-2.0
// Test kernels of this folder as one CUDA source, put together like libsale's own.
#pragma once

#include "generator/wgmma_source.hpp"

#include <string>
#include <vector>

namespace sale::test {

/// `file` of this folder behind everything that it includes, the products that it uses, and `struct Config`.
std::string kernel_source(const std::string &file, const std::vector<WgmmaShape> &products, const std::string &config);

} // namespace sale::test
