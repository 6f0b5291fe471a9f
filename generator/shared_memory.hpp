// SPDX-License-Identifier: Apache-2.0
// Dynamic shared memory of each kernel; the generated source asserts that its own layout agrees.
#pragma once

#include "generator/kernel_spec.hpp"

namespace sale {

int shared_memory_bytes(const KernelSpec &spec);

} // namespace sale
