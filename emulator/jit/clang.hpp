// SPDX-License-Identifier: Apache-2.0
// clang, as a process of its own: CUDA device code to LLVM bitcode.
#pragma once

#include <string>

namespace sale::emulator {

/// Bitcode for nvptx64 with line tables, nothing optimised. Throws Error(compile) with clang's messages and
/// Error(not_found) where there is no clang. SALE_CLANG in the environment names another one.
std::string compile_to_bitcode(const std::string &source);

} // namespace sale::emulator
