// SPDX-License-Identifier: Apache-2.0
// KernelSpec -> one self-contained CUDA source string. Pure: no files, no GPU, no clock.
#pragma once

#include "generator/kernel_spec.hpp"

#include <string>
#include <vector>

namespace sale {

/// The readable source of one kernel: Config, the template and its device headers inlined once each, one extern "C"
/// entry.
std::string generate(const KernelSpec &spec);

/// The kernels that one Plan of this problem and policy needs on `arch`, in launch order, the dense attend last (and
/// merge after it).
std::vector<KernelSpec> plan_kernels(const Problem &problem, const Policy &policy, const Arch &arch,
                                     const Serving &serving = {});

/// Whether fp8_attend reads the codes of K that the estimate reads; else a plan with fp8_attend has a second quantize.
bool attend_shares_codes(const Policy &policy);

} // namespace sale
