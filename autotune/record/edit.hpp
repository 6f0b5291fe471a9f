// SPDX-License-Identifier: Apache-2.0
// Records put together, compared and cut down. A kernel's choices are one whole: they are taken or left together.
#pragma once

#include "generator/tuning.hpp"

#include <string>
#include <vector>

namespace sale::autotune {

/// Whether they were measured with the same kernels, of whatever library.
bool same_kernels(const TuningRecord &a, const TuningRecord &b);

/// `base` with what `over` has of each GPU and kernel in place of what it says itself; facts of a GPU are `over`'s.
/// Throws Error(invalid_argument) where they are of different libraries' kernels.
TuningRecord merged(TuningRecord base, const TuningRecord &over);

/// What is for a GPU of this name, an architecture and a kernel class; empty = any.
TuningRecord only(const TuningRecord &record, const std::string &gpu, const std::string &arch,
                  const std::string &kernel = {});

/// By name, so that records of the same content are the same text.
void sort_record(TuningRecord &record);

/// Calls whose tile two records choose differently.
struct TuningDifference {
  std::string gpu;    ///< "NVIDIA H100 80GB HBM3, sm_90a, 132 multiprocessors"
  std::string kernel; ///< KernelSpec::class_name().
  std::string calls;  ///< "up to 8192 tokens, up to density 0.08", "all"
  std::string before; ///< "16x8/128/3/1"; empty where the record has nothing for the kernel.
  std::string after;
  std::string times; ///< "8192 tokens: 1.25 -> 1.2 ms": of what both were measured at; empty where that is nothing.
};

std::vector<TuningDifference> differences(const TuningRecord &before, const TuningRecord &after);

/// "16x8/128/3/1": rows per warp and warps, keys per step, stages, CTAs per SM.
std::string tile_text(const Tile &tile);

} // namespace sale::autotune
