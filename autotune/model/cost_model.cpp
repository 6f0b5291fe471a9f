// SPDX-License-Identifier: Apache-2.0
// Constants without a source of their own were fitted on an H100 to the times of 1560 tiles: the kernels of
// Llama-3.1-8B (int8, fp8 and fp8 of 64 channels) at 8K, 32K and 64K tokens.
#include "autotune/model/cost_model.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace sale::autotune {

namespace {

// Of structured data, and of many models' heads, at the default tau (docs/synth.md).
constexpr double assumed_density = 0.12;

// What CTAs do, step by step. `shared` clocks of a step are an SM's units at work, for which its CTAs queue; `alone`
// clocks a CTA waits for itself while others go on.
struct Work {
  double items = 0;   ///< CTAs, or pieces that persistent ones take.
  double steps = 0;   ///< Of an item, on average.
  double shared = 0;  ///< Clocks of a step.
  double alone = 0;   ///< The same.
  double once = 0;    ///< Clocks of an item beside its steps.
  double longest = 0; ///< Steps of the longest item.
};

// Items of unequal length leave SMs idle at the end for a part of the longest.
constexpr double idle_share = 0.35;

double milliseconds(const Work &work, int ctas, const GpuParameters &gpu) {
  const double step = std::max(work.shared, (work.shared + work.alone) / ctas);
  const double busy = work.items * (work.steps * step + work.once / ctas) / gpu.multiprocessors;
  const double end = idle_share * work.longest * (work.shared + work.alone);
  return (busy + end) / (gpu.clock_ghz * 1e6);
}

double ceil_div(int value, int divisor) { return std::ceil(static_cast<double>(value) / divisor); }

// Those of wgmma are persistent, one on each SM.
int ctas_of(const KernelSpec &kernel, int resident) { return kernel.family() == KernelFamily::wgmma ? 1 : resident; }

// Share of the products' rate that warps' own reach where the GPU's is that of warpgroups: 601 of 989 TFLOP/s on an
// H100.
double rate_of(const KernelSpec &kernel, const GpuParameters &gpu) {
  const bool of_warpgroups = kernel.arch.major == 9 && (kernel.arch.specific || !gpu.measured);
  const bool warp_products_on_hopper = of_warpgroups && kernel.family() == KernelFamily::mma_sync;
  return gpu.mma_flops_per_clock * (warp_products_on_hopper ? 0.6 : 1);
}

// Causal rows see half of the keys.
double visible_keys(const Task &task) {
  const double keys = task.tokens;
  return task.problem.causal ? keys / 2 : keys;
}

Work attend_work(const Task &task, const KernelSpec &kernel, const GpuParameters &gpu) {
  constexpr double per_step = 490;           // barriers, maxima, sums and the output's new scale
  constexpr double per_item = 2500;          // Q, the first keys, the output
  constexpr double latency = 900;            // from L2, with the queue before it
  constexpr double shared_bytes = 128;       // of shared memory a clock (CUDA programming guide, 32 banks of 4 bytes)
  constexpr double bulk_over_l2 = 40.0 / 24; // tensor copies with several CTAs' requests in flight, to plain loads
  constexpr double shared_tiles = 1.3;       // keys that two row blocks load, to those that one keeps
  const Tile &tile = kernel.tile;
  const bool wgmma = kernel.family() == KernelFamily::wgmma;
  const int rows = tile.rows();
  const int keys = tile.keys_per_step;
  const double depth = kernel.head_dim + kernel.v_width();
  const double code_bytes = kernel.fp8_attend ? 1 : 2;
  const double rate = rate_of(kernel, gpu) * (kernel.fp8_attend ? 2 : 1);

  double seen = visible_keys(task);
  double waste = 0.5; // steps that are partly empty
  if (!kernel.dense) {
    const double kept = task.density > 0 ? task.density : assumed_density;
    seen = std::min(seen, seen * kept + task.policy.sink + task.policy.window);
    waste = 1; // blocks of two rows, of one, of the other
  }
  const double products = 2.0 * rows * keys * depth / rate;
  const double loads = keys * depth * code_bytes * (kernel.dense ? 1 : shared_tiles) /
                       (gpu.l2_bytes_per_clock * (wgmma ? bulk_over_l2 : 1));
  // Warps' own products read K and V once per warp.
  const double reads = wgmma ? 0 : tile.warps * keys * depth * 2 / shared_bytes;
  Work work;
  work.items = task.problem.num_q_heads * ceil_div(task.tokens, rows);
  work.steps = seen / keys + waste;
  work.shared = std::max({products, loads, reads});
  work.alone = per_step + std::max(0.0, latency - (tile.stages - 1) * (work.shared + per_step));
  work.once = per_item;
  work.longest = (kernel.dense ? 2 : 1) * work.steps;
  return work;
}

// Scores of a step: estimated, compared, forgotten.
Work select_work(const Task &task, const KernelSpec &kernel, const GpuParameters &gpu) {
  constexpr double per_item = 300;
  const Tile &tile = kernel.tile;
  const bool wgmma = kernel.family() == KernelFamily::wgmma;
  const int rows = tile.rows();
  const int keys = tile.keys_per_step;
  const bool exact = kernel.estimator == Estimator::exact;
  const double row_bytes = exact ? 2.0 * kernel.head_dim : kernel.code_row_bytes();
  const double width = exact ? kernel.head_dim : kernel.estimate_width();
  double faster = exact ? 1 : 2;
  if (kernel.estimator == Estimator::int4 && kernel.arch.has_int4_mma()) {
    faster = 4;
  }
  const double pruned = kernel.prune_queries ? 0.5 : 1;
  const double products = 2.0 * rows * keys * width * pruned / (rate_of(kernel, gpu) * faster);
  Work work;
  if (wgmma && kernel.estimator == Estimator::int8) {
    // Twice as large sums leave a warpgroup no registers to multiply while it compares.
    constexpr double per_step = 180;
    constexpr double bytes_per_clock = 160;
    work.shared = products;
    work.alone = per_step + keys * row_bytes / bytes_per_clock;
  } else if (wgmma) {
    // Warpgroups that take turns, keys from L2 and the comparisons hide each other almost wholly: a steep mean.
    constexpr double compares_per_clock = 128 / 0.9;
    constexpr double turn = 150;
    constexpr double turn_per_unit = 40; // of 64 rows
    constexpr double bulk_over_l2 = 40.0 / 24;
    const double units = tile.rows_per_warp / 16.0;
    const double groups = tile.warps / 4.0;
    const double compares = rows * static_cast<double>(keys) / compares_per_clock;
    const double one_group = (products + compares) / groups + turn + turn_per_unit * units;
    const double loads = keys * row_bytes / (gpu.l2_bytes_per_clock * bulk_over_l2);
    work.shared =
        std::pow(std::pow(products, 4) + std::pow(compares, 4) + std::pow(one_group, 4) + std::pow(loads, 4), 0.25);
  } else {
    constexpr double compares_per_clock = 64;
    constexpr double per_step = 250;
    constexpr double shared_bytes = 128;
    const double compares = rows * static_cast<double>(keys) / compares_per_clock;
    const double reads = tile.warps * keys * row_bytes / shared_bytes;
    work.shared = std::max({products + compares, reads, keys * row_bytes / gpu.l2_bytes_per_clock});
    work.alone = per_step;
  }
  constexpr double shallow_ring = 0.03; // of a step, that one stage in flight costs
  work.shared *= 1 + shallow_ring / (tile.stages - 1);
  work.items = task.problem.num_q_heads * ceil_div(task.tokens, rows);
  work.steps = visible_keys(task) / keys + 0.5;
  work.once = per_item;
  work.longest = 2 * work.steps;
  return work;
}

// Few keys for each row: a CTA mostly waits, so that it counts how many there are; they get in each other's way before
// the SM is full.
Work prepare_work(const Task &task, const KernelSpec &kernel, int ctas) {
  constexpr double wait = 6000;    // clocks of a CTA
  constexpr double per_item = 200; // its keys
  const Tile &tile = kernel.tile;
  const double clocks_of_row = (tile.rows_per_warp >= 32 ? 38 : 46) * kernel.head_dim / 128.0;
  const double busy = tile.rows() * clocks_of_row + per_item;
  Work work;
  work.items = task.problem.num_q_heads * ceil_div(task.tokens, tile.rows());
  work.steps = 1;
  work.shared = std::hypot(busy, (busy + wait) / ctas);
  work.longest = 1;
  return work;
}

std::vector<double> ranks(const std::vector<double> &values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> rank(values.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) {
      ++end;
    }
    for (std::size_t k = begin; k < end; ++k) {
      rank[order[k]] = static_cast<double>(begin + end - 1) / 2;
    }
    begin = end;
  }
  return rank;
}

} // namespace

double model_ms(const Task &task, const Tile &tile, const ResourceUse &use, const GpuParameters &gpu) {
  KernelSpec kernel = task.kernel;
  kernel.tile = tile;
  const int resident = std::max(1, use.ctas_per_sm);
  switch (kernel.stage) {
  case Stage::attend: return milliseconds(attend_work(task, kernel, gpu), ctas_of(kernel, resident), gpu);
  case Stage::select: return milliseconds(select_work(task, kernel, gpu), ctas_of(kernel, resident), gpu);
  default: return milliseconds(prepare_work(task, kernel, resident), 1, gpu);
  }
}

void add_model_times(std::vector<Candidate> &candidates, const Task &task, const GpuParameters &gpu) {
  for (Candidate &candidate : candidates) {
    candidate.model_ms = model_ms(task, candidate.tile, candidate.use, gpu);
  }
}

double rank_correlation(const std::vector<double> &a, const std::vector<double> &b) {
  const std::vector<double> x = ranks(a);
  const std::vector<double> y = ranks(b);
  const double middle = (static_cast<double>(x.size()) - 1) / 2;
  double both = 0;
  double of_x = 0;
  double of_y = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    both += (x[i] - middle) * (y[i] - middle);
    of_x += (x[i] - middle) * (x[i] - middle);
    of_y += (y[i] - middle) * (y[i] - middle);
  }
  return of_x > 0 && of_y > 0 ? both / std::sqrt(of_x * of_y) : 0;
}

} // namespace sale::autotune
