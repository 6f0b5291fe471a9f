// SPDX-License-Identifier: Apache-2.0
// Generated kernels as files that tools read.
#pragma once

#include "generator/kernel_spec.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace sale {

/// Of the golden kernels of all these architectures, one of each source: many are the same for several architectures.
std::vector<KernelSpec> kernels_to_lint(const std::vector<Arch> &archs);

/// Where the kernel's source now lies, below the build folder; named after the kernel. Each test has a folder of its
/// own, since tests run at the same time.
std::filesystem::path write_kernel(const KernelSpec &spec, const std::string &test);

/// The flags of templates/compile_flags.txt, which editors use, for a whole kernel.
std::string clang_flags();

} // namespace sale
