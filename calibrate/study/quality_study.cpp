// SPDX-License-Identifier: Apache-2.0
// The tables of docs/quality.md: every estimator on captured Q, K and V, with and without calibrated shifts, by the CPU
// oracle.
//   quality_study CALIBRATE:JUDGE...   shifts and channels from one file, judged on another
//   quality_study FILE...              from the even query blocks of a file, judged on its odd ones
#include "calibrate/channels.hpp"
#include "calibrate/quality.hpp"
#include "calibrate/balanced_projection.hpp"

#include "io/qkv.hpp"
#include "reference/metrics.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>

namespace {

using namespace sale;
using reference::Tensors;

constexpr double goal = 0.99;
constexpr float measured_tau = 0.004F; ///< Margins are measured at this tau; another only moves them all.
constexpr double taus[] = {0.001, 0.004, 0.016};

enum class ShiftKind { none, smallest, positive };
constexpr ShiftKind kinds[] = {ShiftKind::none, ShiftKind::smallest, ShiftKind::positive};
const char *name_of(ShiftKind kind) {
  return kind == ShiftKind::none ? "0" : kind == ShiftKind::smallest ? "smallest" : "smallest >= 0";
}

struct Estimate {
  std::string name;
  Estimator estimator = Estimator::exact;
  double width = 1; ///< Of head_dim.
  bool prune_queries = false;
  bool projection = false;
};
const std::vector<Estimate> estimates = {
    {"exact", Estimator::exact},
    {"int4", Estimator::int4},
    {"int8", Estimator::int8},
    {"fp8", Estimator::fp8},
    {"fp8, 2:4", Estimator::fp8, 1, true},
    {"fp8, best 3/4", Estimator::fp8, 0.75},
    {"fp8, best half", Estimator::fp8, 0.5},
    {"fp8, projection to half", Estimator::fp8, 0.5, false, true},
    {"fp8, best half, 2:4", Estimator::fp8, 0.5, true},
    {"fp8, best quarter", Estimator::fp8, 0.25},
};

/// Everything that one row of the table sums up.
struct Row {
  Figures figures;
  std::vector<double> recall;
  double difference = 0;
  double size = 0;
  int heads = 0;
  int reached = 0;
  double least = 1;
};
using Key = std::tuple<std::size_t, std::size_t, std::size_t>; ///< Indices of estimate, kind and tau.

struct Input {
  Tensors tensors;
  float scale = 0;
};
Input load(const std::string &file) {
  const io::Qkv qkv = io::load_qkv(file);
  return {io::to_tensors(qkv), effective_softmax_scale(qkv.problem)};
}

/// Another tau: T moves by ln(tau / measured_tau) nats.
std::vector<HeadBlocks> at_tau(std::vector<HeadBlocks> heads, double tau) {
  const double move = std::log(tau / measured_tau);
  for (HeadBlocks &blocks : heads) {
    for (Block &block : blocks) {
      block.exact_margin -= move;
      block.margin -= move;
    }
  }
  return heads;
}

bool fits(const Estimate &estimate, int head_dim) {
  const double step = estimate.prune_queries ? 64 : 32;
  return std::fmod(estimate.width * head_dim, step) == 0.0;
}

class Study {
public:
  void add(const std::string &calibrate, const std::string &judge) {
    const bool split = judge.empty();
    const Input sample = load(calibrate);
    const Input other = split ? Input() : load(judge);
    const Input &judged = split ? sample : other;
    const Part sample_part = split ? Part::even : Part::whole;
    const Part judged_part = split ? Part::odd : Part::whole;
    Policy policy;
    policy.tau = measured_tau;
    std::vector<HeadBlocks> sample_blocks = exact_blocks(sample.tensors, policy, sample.scale);
    std::vector<HeadBlocks> judged_blocks = split ? sample_blocks : exact_blocks(other.tensors, policy, other.scale);

    std::vector<reference::Mask> masks;
    std::vector<Key> keys;
    for (std::size_t e = 0; e < estimates.size(); ++e) {
      const Estimate &estimate = estimates[e];
      if (!fits(estimate, sample.tensors.head_dim)) {
        continue;
      }
      policy = policy_of(estimate, sample.tensors, sample_part);
      estimate_blocks(sample.tensors, policy, sample.scale, sample_blocks);
      if (split) {
        judged_blocks = sample_blocks;
      } else {
        estimate_blocks(judged.tensors, policy, judged.scale, judged_blocks);
      }
      for (std::size_t t = 0; t < std::size(taus); ++t) {
        const std::vector<HeadBlocks> from = at_tau(sample_blocks, taus[t]);
        const std::vector<HeadBlocks> to = at_tau(judged_blocks, taus[t]);
        for (std::size_t k = 0; k < std::size(kinds); ++k) {
          const std::vector<double> shifts = shifts_of(from, kinds[k], sample_part);
          add_figures(rows_[{e, k, t}], to, policy, judged.tensors.shape, shifts, judged_part);
          masks.push_back(mask_at(judged.tensors, policy, to, shifts));
          keys.push_back({e, k, t});
        }
      }
    }
    const std::vector<MaskQuality> qualities = judge_masks(judged.tensors, policy, judged.scale, masks, judged_part);
    for (std::size_t i = 0; i < masks.size(); ++i) {
      Row &row = rows_[keys[i]];
      row.recall.insert(row.recall.end(), qualities[i].recall.begin(), qualities[i].recall.end());
      row.difference += qualities[i].difference;
      row.size += qualities[i].size;
    }
  }

  /// The density at which an estimate's error is what the exact one's is at a tau: ln(rel-L1) over density is taken as
  /// straight between (and beyond) the taus measured.
  void print_at_equal_error() const {
    fmt::print("\n| error of exact at tau | estimate | shift | density | against exact |\n|---|---|---|---|---|\n");
    for (std::size_t t = 1; t < std::size(taus); ++t) {
      const Row &exact = rows_.at({0, 0, t});
      const double error = std::log(exact.difference / exact.size);
      for (std::size_t e = 0; e < estimates.size(); ++e) {
        for (std::size_t k = 0; k < std::size(kinds); ++k) {
          if (rows_.count({e, k, t}) == 0) {
            continue;
          }
          const auto density = [&](std::size_t i) { return rows_.at({e, k, i}).figures.density(); };
          const auto log_error = [&](std::size_t i) {
            const Row &row = rows_.at({e, k, i});
            return std::log(row.difference / row.size);
          };
          const std::size_t from = error < log_error(1) ? 0 : 1;
          const double share = (error - log_error(from)) / (log_error(from + 1) - log_error(from));
          const double found = density(from) + share * (density(from + 1) - density(from));
          fmt::print("| {} | {} | {} | {:.4f}{} | {:+.1f} % |\n", taus[t], estimates[e].name, name_of(kinds[k]), found,
                     share < 0.0 || share > 1.0 ? " (extrapolated)" : "",
                     100.0 * (found / exact.figures.density() - 1.0));
        }
      }
    }
  }

  void print() const {
    fmt::print(
        "| tau | estimate | shift | density | kept share | hit mass | least head | heads >= {} | recall mean | p1 | "
        "rel-L1 |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
        goal);
    for (std::size_t t = 0; t < std::size(taus); ++t) {
      for (const auto &[key, row] : rows_) {
        const auto [e, k, tau] = key;
        if (tau != t) {
          continue;
        }
        const reference::Recall recall = reference::recall_of_rows(row.recall);
        fmt::print("| {} | {} | {} | {:.4f} | {:.4f} | {:.4f} | {:.3f} | {} of {} | {:.4f} | {:.4f} | {:.4f} |\n",
                   taus[t], estimates[e].name, name_of(kinds[k]), row.figures.density(), row.figures.kept_share(),
                   row.figures.hit_mass(), row.least, row.reached, row.heads, recall.mean, recall.p1,
                   row.difference / row.size);
      }
    }
  }

private:
  static Policy policy_of(const Estimate &estimate, const Tensors &sample, Part part) {
    Policy policy;
    policy.tau = measured_tau;
    policy.estimator = estimate.estimator;
    policy.prune_queries = estimate.prune_queries;
    if (estimate.width < 1) {
      policy.estimate_dim = static_cast<int>(estimate.width * sample.head_dim);
      if (estimate.projection) {
        policy.projection = balanced_projection({&sample}, policy, part);
      } else {
        policy.channels = channels_by_energy({&sample}, policy, part);
      }
    }
    return policy;
  }

  static std::vector<double> shifts_of(const std::vector<HeadBlocks> &heads, ShiftKind kind, Part part) {
    std::vector<double> shifts;
    for (const HeadBlocks &blocks : heads) {
      const double shift = kind == ShiftKind::none ? 0.0 : smallest_shift({&blocks}, goal, part).nats;
      shifts.push_back(kind == ShiftKind::positive ? std::max(shift, 0.0) : shift);
    }
    return shifts;
  }

  static void add_figures(Row &row, const std::vector<HeadBlocks> &heads, const Policy &policy, const Shape &shape,
                          const std::vector<double> &shifts, Part part) {
    for (std::size_t h = 0; h < heads.size(); ++h) {
      const Figures figures = figures_of(heads[h], policy, shape, shifts[h], part);
      row.figures += figures;
      if (figures.counts()) {
        ++row.heads;
        row.reached += figures.hit_mass() >= goal ? 1 : 0;
        row.least = std::min(row.least, figures.hit_mass());
      }
    }
  }

  std::map<Key, Row> rows_;
};

} // namespace

int main(int argc, char **argv) {
  try {
    Study study;
    for (int i = 1; i < argc; ++i) {
      const std::string argument = argv[i];
      const std::size_t colon = argument.find(':');
      fmt::print(stderr, "{}\n", argument);
      study.add(argument.substr(0, colon), colon == std::string::npos ? "" : argument.substr(colon + 1));
    }
    study.print();
    study.print_at_equal_error();
    return 0;
  } catch (const Error &error) {
    fmt::print(stderr, "quality_study: {}\n", error.what());
    return 1;
  }
}
