// SPDX-License-Identifier: Apache-2.0
// Cost model: about how long a kernel takes with a tile, from what its steps multiply, read and wait for. It ranks;
// measuring decides.
#pragma once

#include "autotune/measure/task.hpp"
#include "autotune/model/gpu_parameters.hpp"
#include "autotune/space/candidate.hpp"

#include <vector>

namespace sale::autotune {

/// Milliseconds of the task's kernel with this tile; finite and above 0. Without ctas_per_sm one is assumed.
double model_ms(const Task &task, const Tile &tile, const ResourceUse &use, const GpuParameters &gpu);

/// Fills in model_ms of all; the order stays.
void add_model_times(std::vector<Candidate> &candidates, const Task &task, const GpuParameters &gpu);

/// Spearman's coefficient of two equally long lists, ties at their mean rank; 0 where one is constant.
double rank_correlation(const std::vector<double> &a, const std::vector<double> &b);

} // namespace sale::autotune
