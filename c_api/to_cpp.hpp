// SPDX-License-Identifier: Apache-2.0
// Structs of the C API as those of the C++ API, and back. Throw Error(invalid_argument) for what no C++ caller could
// say; everything else the C++ API checks itself.
#pragma once

#include "sale/background_tuning.hpp"
#include "sale/sale.h"
#include "sale/sale.hpp"
#include "sale/tuning.hpp"

#include <string>
#include <vector>

namespace sale::c_api {

Problem to_cpp(const sale_problem &from);
Policy to_cpp(const sale_policy &from);
Serving to_cpp(const sale_serving &from);
Shape to_cpp(const sale_shape &from);
Options to_cpp(const sale_options &from);
RunArgs to_cpp(const sale_run_args &from);
MergeArgs to_cpp(const sale_merge_args &from);
TuningLayers to_cpp(const sale_tuning_layers &from);
BackgroundTuningOptions to_cpp(const sale_background_tuning_options &from);

std::vector<Need> needs_to_cpp(const sale_need *needs, std::size_t count);
std::vector<std::string> strings_to_cpp(const char *const *strings, std::size_t count, const char *name);

/// Its texts are those of `info`.
sale_kernel_info to_c(const KernelInfo &info);
/// Writes one of them. Throws Error(invalid_argument) where there are not so many.
void write_kernel(const std::vector<KernelInfo> &kernels, std::size_t index, sale_kernel_info *to);
sale_stage_times to_c(const StageTimes &times);
sale_plan_counters to_c(const PlanCounters &counters);
sale_cache_counters to_c(const CacheCounters &counters);

} // namespace sale::c_api
