// SPDX-License-Identifier: Apache-2.0
// What was measured, and the figures that follow from it.
#pragma once

#include "bench/gpu_monitor.hpp"
#include "bench/samples.hpp"
#include "sale/types.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sale::bench {

enum class Work {
  dense, ///< Plan::run_dense: attend with every visible block kept.
  sale,  ///< Plan::run: the whole method.
  attend ///< Plan::run with a given mask: attend alone.
};

const char *to_string(Work work);

/// The stages of a call, in order.
inline constexpr std::array<std::pair<const char *, double StageTimes::*>, 10> stages = {
    {{"sequences", &StageTimes::sequences},
     {"mean", &StageTimes::mean},
     {"channels", &StageTimes::channels},
     {"quantize", &StageTimes::quantize},
     {"amax", &StageTimes::amax},
     {"values", &StageTimes::values},
     {"prepare", &StageTimes::prepare},
     {"select", &StageTimes::select},
     {"tails", &StageTimes::tails},
     {"attend", &StageTimes::attend}}};

/// One thing that was measured.
struct Row {
  Work work = Work::dense;
  bool fp8_attend = false;
  std::string estimate; ///< sale only: "fp8/64".
  std::string mask;     ///< attend only: "random:0.1".
  Samples ms;           ///< One pair of events around the call.
  std::optional<double> density;
  std::optional<double> rel_l1;                ///< sale only: against dense, over a few heads.
  std::array<Samples, stages.size()> stage_ms; ///< sale only: calls of their own, with events between the stages.
  Samples stage_total_ms;

  /// "sale fp8/64", "attend random:0.1, fp8", "dense".
  std::string name() const;
};

/// A way of serving beside plain calls that do the same work.
struct ServingRow {
  std::string name;  ///< "paged:64"
  std::string plain; ///< "one call"
  Samples ms;
  Samples plain_ms;
  std::size_t different_outputs = 0; ///< Elements, of a few heads.
  std::optional<std::size_t> different_mask_bits;
  std::array<Samples, stages.size()> stage_ms; ///< In calls of their own.
  std::array<Samples, stages.size()> plain_stage_ms;
};

/// Calls after one another.
struct CallCost {
  std::string what;
  Samples host_us;   ///< Of the calling thread, per call.
  Samples device_us; ///< From the first call's begin to the last one's end, per call.
  int launches = 0;  ///< Of kernels and fills, per call.
  Samples own_us;    ///< Of the calling thread outside the driver's launches, per call: libsale's own.
};

/// All that was measured on one input.
struct Section {
  std::string input;
  Problem problem;
  Shape shape;
  std::size_t device_bytes = 0;
  std::string left_out; ///< Why nothing was measured, if so.
  std::vector<Row> rows;
  std::vector<ServingRow> serving;
  int calls_in_a_row = 0;
  std::vector<CallCost> calls;
  GpuLog gpu; ///< While it was measured.

  /// Of dense attention: n^2 * (head_dim + v_head_dim) * heads for n queries and n keys, the causal half.
  double flops() const;
  /// The dense row with 16-bit products, or null.
  const Row *dense() const;
  /// TFLOP/s of what a row computes; nothing for the whole method.
  std::optional<double> tflops(const Row &row) const;
  /// Dense time / time; nothing where dense was not measured.
  std::optional<double> speedup(const Row &row) const;
};

/// Between which length SALE with this estimate becomes faster than dense, by straight lines between the logarithms of
/// measured times. 0 = it is at the shortest; nothing = at none.
struct Crossover {
  std::string estimate;
  bool fp8_attend = false;
  std::optional<double> length;
};
std::vector<Crossover> crossovers(const std::vector<Section> &sections);

} // namespace sale::bench
