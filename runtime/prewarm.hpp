// SPDX-License-Identifier: Apache-2.0
// Which kernels prewarm makes.
#pragma once

#include "runtime/arch_choice.hpp"
#include "runtime/kernel_factory.hpp"

#include <string>
#include <vector>

namespace sale {

/// "sm_90a": machine code. "compute_90": PTX, which GPUs of later major versions take. Throws Error(invalid_argument).
KernelTarget parse_target(const std::string &name);

/// A kernel to compile and its cache key.
struct PlannedKernel {
  KernelRequest request;
  std::string key;
};

/// Every kernel of the needs for each architecture, each once, in order of need; with those that Options.tuning can
/// choose. Needs neither NVRTC nor the cache.
std::vector<PlannedKernel> planned_kernels(const std::vector<std::string> &archs, const std::vector<Need> &needs,
                                           const Options &options = {});

} // namespace sale
