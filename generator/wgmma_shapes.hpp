// SPDX-License-Identifier: Apache-2.0
// Which warpgroup products the kernels of the wgmma family are built on.
#pragma once

#include "generator/kernel_spec.hpp"
#include "generator/wgmma_source.hpp"

#include <vector>

namespace sale {

/// Empty for the mma.sync family.
std::vector<WgmmaShape> wgmma_shapes(const KernelSpec &spec);

} // namespace sale
