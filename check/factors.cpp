// SPDX-License-Identifier: Apache-2.0
#include "check/factors.hpp"

#include "core/supported.hpp"

#include <fmt/format.h>

namespace sale::check {

namespace {

constexpr std::array gqas = {1, 2, 4, 7};

struct Lengths {
  int q, kv;
};
// Around the sizes of warps, tiles and blocks; the long ones leave blocks to estimate whatever the window is.
constexpr std::array all_lengths = {Lengths{1, 1},     Lengths{1, 333},   Lengths{33, 33},   Lengths{31, 415},
                                    Lengths{65, 65},   Lengths{63, 447},  Lengths{64, 512},  Lengths{127, 513},
                                    Lengths{129, 500}, Lengths{200, 600}, Lengths{333, 333}, Lengths{70, 1100}};

constexpr std::array regions = {Regions{32, 128}, Regions{0, 0}, narrow, Regions{100, 32}};

enum class Threshold { usual, high, dense_head, all_dense, shifted_up, shifted_down, per_call };
constexpr std::array thresholds = {Threshold::usual,     Threshold::high,       Threshold::dense_head,
                                   Threshold::all_dense, Threshold::shifted_up, Threshold::shifted_down,
                                   Threshold::per_call};

const char *to_string(Threshold value) {
  switch (value) {
  case Threshold::usual: return "tau 0.004";
  case Threshold::high: return "tau 0.1";
  case Threshold::dense_head: return "tau 0 of one head";
  case Threshold::all_dense: return "tau 0";
  case Threshold::shifted_up: return "shift 0.25";
  case Threshold::shifted_down: return "shift -0.5";
  case Threshold::per_call: return "given with the call";
  }
  return "";
}

void set_threshold(CheckCase &c, Threshold value) {
  const auto heads = static_cast<std::size_t>(c.problem.num_q_heads);
  switch (value) {
  case Threshold::usual: return;
  case Threshold::high: c.policy.tau = 0.1F; return;
  case Threshold::dense_head:
    c.policy.tau_per_head.assign(heads, 0.02F);
    c.policy.tau_per_head.back() = 0.0F;
    return;
  case Threshold::all_dense: c.policy.tau = 0.0F; return;
  case Threshold::shifted_up: c.policy.shift_per_head.assign(heads, 0.25F); return;
  case Threshold::shifted_down: c.policy.shift_per_head.assign(heads, -0.5F); return;
  case Threshold::per_call:
    c.policy.tau_per_head.assign(heads, 0.03F);
    c.policy.shift_per_head.assign(heads, 0.1F);
    c.per_call = true;
    return;
  }
}

template <class Values, class Name>
Factor factor(const char *name, const Values &values, const Name &name_of) {
  Factor result{name, {}};
  for (const auto &value : values) {
    result.values.push_back(name_of(value));
  }
  return result;
}

} // namespace

const std::vector<Factor> &factors() {
  const auto word = [](const auto &value) { return std::string(to_string(value)); };
  const auto number = [](int value) { return std::to_string(value); };
  const auto text = [](const char *value) { return std::string(value); };
  static const std::vector<Factor> all = {
      factor("mode", modes, word),
      factor("estimator", estimators, word),
      factor("arch", archs, text),
      factor("dtype", supported_dtypes, word),
      factor("head_dim", head_dims, number),
      factor("gqa", gqas, number),
      factor("block_q", supported_block_q, number),
      factor("block_k", supported_block_k, number),
      factor("lengths", all_lengths, [](const Lengths &value) { return fmt::format("{}/{}", value.q, value.kv); }),
      factor("layout", std::array{"packed", "strided"}, text),
      factor("batch", std::array{1, 2}, number),
      factor("threshold", thresholds, word),
      factor("region", regions,
             [](const Regions &value) { return fmt::format("sink {} window {}", value.sink, value.window); }),
      factor("kbar", kbar_sources, word)};
  return all;
}

bool matters(const Choice &choice, int factor) {
  switch (factor) {
  case estimator:
  case threshold:
  case region: return modes[choice[mode]] == Mode::sparse;
  case kbar: return modes[choice[mode]] == Mode::sparse && estimators[choice[estimator]] != Estimator::exact;
  case block_q:
  case block_k: return modes[choice[mode]] != Mode::dense;
  default: return true;
  }
}

CheckCase make_case(const Choice &choice, std::uint64_t seed) {
  const auto at = [&](FactorIndex index) { return static_cast<std::size_t>(choice[index]); };
  CheckCase c;
  c.mode = modes[at(mode)];
  c.arch = archs[at(arch)];
  c.problem.dtype = supported_dtypes[at(dtype)];
  c.problem.head_dim = head_dims[at(head_dim)];
  // Two KV heads where that is cheap, so that heads cannot be mixed up unseen.
  c.problem.num_kv_heads = gqas[at(gqa)] <= 2 ? 2 : 1;
  c.problem.num_q_heads = gqas[at(gqa)] * c.problem.num_kv_heads;
  c.policy.estimator = estimators[at(estimator)];
  c.policy.block_q = supported_block_q[at(block_q)];
  c.policy.block_k = supported_block_k[at(block_k)];
  c.policy.sink = regions[at(region)].sink;
  c.policy.window = regions[at(region)].window;
  c.shape = {choice[batch] + 1, all_lengths[at(lengths)].q, all_lengths[at(lengths)].kv};
  c.strided = choice[layout] == 1;
  c.kbar = kbar_sources[at(kbar)];
  c.seed = seed;
  set_threshold(c, thresholds[at(threshold)]);
  return c;
}

std::vector<int> sizes_of_factors() {
  std::vector<int> sizes;
  for (const Factor &each : factors()) {
    sizes.push_back(static_cast<int>(each.values.size()));
  }
  return sizes;
}

bool changes_source(int factor) { return factor <= block_k; }

} // namespace sale::check
