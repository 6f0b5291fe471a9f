// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/oracle.hpp"

#include "core/parallel_for.hpp"
#include "reference/element.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace sale::autotune {

namespace {

using check::CheckCase;
using check::Mode;

constexpr std::array<Shape, 3> shapes = {Shape{1, 333, 333}, Shape{1, 200, 517}, Shape{1, 70, 1100}};
constexpr std::array<std::uint64_t, 3> seeds = {6, 1, 2}; // a sixth of them has no structure (check::make_data)

// What StageResult::same holds.
constexpr std::array<const char *, 6> same_names = {"mask",        "thresholds",   "thresholds of estimates",
                                                    "query codes", "query scales", "places of pruned queries"};

template <class T>
void keep_heads(std::vector<T> &values, std::size_t heads, std::size_t kept) {
  values.resize(values.size() / heads * kept);
}

// Of the first KV heads and their query heads: two where that is cheap.
void keep_few_heads(CheckCase &c) {
  const int gqa = c.problem.num_q_heads / c.problem.num_kv_heads;
  const auto heads = static_cast<std::size_t>(c.problem.num_kv_heads);
  const std::size_t kept = std::min<std::size_t>(heads, gqa <= 2 ? 2 : 1);
  keep_heads(c.policy.tau_per_head, heads, kept);
  keep_heads(c.policy.shift_per_head, heads, kept);
  keep_heads(c.policy.channels, heads, kept);
  keep_heads(c.policy.projection, heads, kept);
  c.problem.num_kv_heads = static_cast<int>(kept);
  c.problem.num_q_heads = gqa * c.problem.num_kv_heads;
}

std::vector<Mode> modes_of(const KernelSpec &kernel) {
  if (kernel.stage != Stage::attend) {
    return {Mode::sparse};
  }
  return kernel.dense ? std::vector<Mode>{Mode::dense} : std::vector<Mode>{Mode::given_mask, Mode::sparse};
}

// What two kernels may differ by, each as far from the oracle as may be.
struct Bounds {
  double of_value; // each element: this times the largest |v| and itself
  double of_head;  // relative L2
};

Bounds bounds_of(const Task &task) {
  if (task.policy.fp8_attend) {
    return {2.0 / 16, 2 * 4e-2};
  }
  return task.problem.dtype == DType::bf16 ? Bounds{2.0 / 256, 2 * 4e-3} : Bounds{2.0 / 2048, 2 * 1e-3};
}

std::string output_difference(const StageResult &result, const StageResult &expected, const Task &task,
                              float largest_value) {
  const std::size_t head = static_cast<std::size_t>(task.tokens) * effective_v_head_dim(task.problem);
  const Bounds bounds = bounds_of(task);
  // The second filter may leave out what is within rounding of a threshold, or not.
  const double undecided_share = task.policy.second_filter ? 1e-3 : 0;
  std::vector<std::string> problems(expected.out.size() / head);
  parallel_for(static_cast<std::int64_t>(problems.size()), [&](std::int64_t index) {
    double error = 0;
    double size = 0;
    std::size_t wrong = 0;
    for (std::size_t i = static_cast<std::size_t>(index) * head; i < static_cast<std::size_t>(index + 1) * head; ++i) {
      const double value = reference::element_to_float(result.out[i], task.problem.dtype);
      const double wanted = reference::element_to_float(expected.out[i], task.problem.dtype);
      error += (value - wanted) * (value - wanted);
      size += wanted * wanted;
      // So written, NaN is wrong.
      wrong += std::abs(value - wanted) <= bounds.of_value * (largest_value + std::abs(wanted)) ? 0 : 1;
    }
    if (static_cast<double>(wrong) > undecided_share * static_cast<double>(head)) {
      problems[static_cast<std::size_t>(index)] = fmt::format(
          "{} of {} output elements of a head differ from the default tile's by more than roundings", wrong, head);
    } else if (!(std::sqrt(error) <= bounds.of_head * std::sqrt(size))) {
      problems[static_cast<std::size_t>(index)] =
          fmt::format("the output of a head differs from the default tile's by {:.3g} in the relative L2 norm, above "
                      "{:.3g}",
                      std::sqrt(error) / std::sqrt(size), bounds.of_head);
    }
  });
  const auto found = std::find_if(problems.begin(), problems.end(), [](const auto &text) { return !text.empty(); });
  return found == problems.end() ? "" : *found;
}

} // namespace

std::vector<CheckCase> oracle_cases(const Task &task) {
  CheckCase c;
  c.arch = task.kernel.arch.name();
  c.problem = task.problem;
  c.policy = task.policy;
  c.policy.dense_below = 0;
  keep_few_heads(c);
  std::vector<CheckCase> cases;
  for (const Mode mode : modes_of(task.kernel)) {
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      c.mode = mode;
      c.shape = shapes[i];
      c.seed = seeds[i];
      cases.push_back(c);
    }
  }
  return cases;
}

std::string difference(const StageResult &result, const StageResult &expected, const Task &task, float largest_value) {
  for (std::size_t i = 0; i < expected.same.size(); ++i) {
    const auto &bytes = expected.same[i];
    if (result.same[i] != bytes) {
      std::size_t different = 0;
      for (std::size_t at = 0; at < bytes.size(); ++at) {
        different += result.same[i][at] == bytes[at] ? 0 : 1;
      }
      return fmt::format("{} of {} bytes of the {} are not the default tile's", different, bytes.size(), same_names[i]);
    }
  }
  return expected.out.empty() ? "" : output_difference(result, expected, task, largest_value);
}

} // namespace sale::autotune
