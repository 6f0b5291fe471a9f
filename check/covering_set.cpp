// SPDX-License-Identifier: Apache-2.0
#include "check/covering_set.hpp"

#include "check/factors.hpp"
#include "core/supported.hpp"

#include <algorithm>
#include <array>
#include <random>
#include <string_view>
#include <utility>

namespace sale::check {

namespace {

// What an fp8 estimate is made of.
struct Fp8Estimate {
  int dim; ///< Policy::estimate_dim, where head_dim is greater.
  bool channels_given;
  bool pruned;
  bool projected;
};
constexpr std::array fp8_estimates = {Fp8Estimate{0, false, false, false},  Fp8Estimate{32, false, false, false},
                                      Fp8Estimate{64, false, false, false}, Fp8Estimate{96, true, false, false},
                                      Fp8Estimate{64, true, true, false},   Fp8Estimate{0, false, true, false},
                                      Fp8Estimate{32, false, false, true}};

// Every estimator on every architecture, where selection keeps some blocks and drops others.
std::vector<CheckCase> deciding_cases() {
  std::vector<CheckCase> cases;
  for (std::size_t e = 0; e < estimators.size(); ++e) {
    for (std::size_t a = 0; a < archs.size(); ++a) {
      CheckCase c;
      c.arch = archs[a];
      c.problem.dtype = supported_dtypes[(a + e) % supported_dtypes.size()];
      c.problem.head_dim = head_dims[(a + e) % head_dims.size()];
      c.problem.num_q_heads = 4;
      c.problem.num_kv_heads = 2;
      c.policy.estimator = estimators[e];
      c.policy.block_q = supported_block_q[a % supported_block_q.size()];
      c.policy.block_k = supported_block_k[a % supported_block_k.size()];
      c.policy.sink = narrow.sink;
      c.policy.window = narrow.window;
      c.policy.tau = 0.01F;
      c.shape = {1, 70, 1100}; // more blocks of 32 than a word of the mask has bits
      cases.push_back(std::move(c));
    }
  }
  return cases;
}

// A policy's kbar, over plain batches that take it in one copy and in several (Call::repeat_kbar).
std::vector<CheckCase> policy_kbar_cases() {
  struct Kind {
    const char *arch;
    Estimator estimator;
    bool fp8_attend;
  };
  std::vector<CheckCase> cases;
  for (const Kind &kind : {Kind{"sm_80", Estimator::int8, false}, Kind{"sm_80", Estimator::int4, false},
                           Kind{"sm_90a", Estimator::int8, false}, Kind{"sm_90a", Estimator::int4, true},
                           Kind{"sm_90a", Estimator::fp8, false}, Kind{"sm_90a", Estimator::fp8, true}}) {
    for (const int batch : {1, 3}) {
      CheckCase c;
      c.arch = kind.arch;
      c.problem.head_dim = 64;
      c.problem.num_q_heads = 2;
      c.problem.num_kv_heads = 2;
      c.policy.estimator = kind.estimator;
      c.policy.fp8_attend = kind.fp8_attend;
      c.policy.tau = 0.01F;
      c.policy.sink = narrow.sink;
      c.policy.window = narrow.window;
      c.shape = {batch, 129, 500};
      c.kbar = KbarSource::policy;
      c.seed = 1 + cases.size();
      cases.push_back(std::move(c));
    }
  }
  return cases;
}

// Masks so wide that attend walks them in several batches (templates/attend/key_walk.cuh).
std::vector<CheckCase> long_cases() {
  std::vector<CheckCase> cases;
  for (std::size_t a = 0; a < archs.size(); ++a) {
    CheckCase c;
    c.mode = Mode::given_mask;
    c.arch = archs[a];
    c.problem.head_dim = 64;
    c.problem.num_q_heads = 1;
    c.problem.num_kv_heads = 1;
    c.policy.block_q = supported_block_q[a % supported_block_q.size()];
    c.policy.block_k = 32;
    // The wgmma family's batches are longer. Its first row sits at 30 mod 32: the diagonal ends inside a granule.
    c.shape = {1, 130, std::string_view(archs[a]) == "sm_90a" ? 34016 : 8500};
    cases.push_back(std::move(c));
  }
  return cases;
}

// `count` ascending channels per KV head, another choice for each.
std::vector<int> spread_channels(int num_kv_heads, int head_dim, int count) {
  std::vector<int> channels;
  for (int g = 0; g < num_kv_heads; ++g) {
    for (int i = 0; i < count; ++i) {
      channels.push_back(g % 2 == 0 ? i * head_dim / count : head_dim - count + i);
    }
  }
  return channels;
}

void set_estimate(CheckCase &c, const Fp8Estimate &estimate) {
  Policy &policy = c.policy;
  const int head_dim = c.problem.head_dim;
  policy.estimator = Estimator::fp8;
  policy.estimate_dim = estimate.dim < head_dim ? estimate.dim : 0;
  // Pruned rows are multiples of 64 channels.
  policy.prune_queries = estimate.pruned && (policy.estimate_dim != 0 || head_dim % 64 == 0);
  const int heads = c.problem.num_kv_heads;
  if (estimate.channels_given && policy.estimate_dim != 0) {
    policy.channels = spread_channels(heads, head_dim, policy.estimate_dim);
  }
  if (estimate.projected) {
    std::mt19937 random(static_cast<std::mt19937::result_type>(c.seed));
    policy.projection.resize(static_cast<std::size_t>(heads) * 2 * policy.estimate_dim * head_dim);
    std::generate(policy.projection.begin(), policy.projection.end(),
                  [&] { return static_cast<float>(random() % 512) / 1024.0F - 0.25F; });
  }
}

enum class Attend { plain, fp8, filtered };
constexpr std::array attends = {Attend::plain, Attend::fp8, Attend::filtered};

void set_attend(CheckCase &c, Attend attend) {
  // The wgmma family has no attend for 96 channels.
  c.policy.fp8_attend = attend == Attend::fp8 && c.problem.head_dim != 96;
  c.policy.second_filter = attend == Attend::filtered && c.problem.head_dim != 96;
}

// Attention in e4m3 without selection, and what else attend does with an estimate that every call has.
std::vector<CheckCase> attend_cases() {
  std::vector<CheckCase> cases;
  for (const int dim : head_dims) {
    for (const auto &[mode_of_call, attend] :
         {std::pair(Mode::dense, Attend::fp8), std::pair(Mode::given_mask, Attend::fp8),
          std::pair(Mode::sparse, Attend::fp8), std::pair(Mode::sparse, Attend::filtered)}) {
      CheckCase c;
      c.mode = mode_of_call;
      c.arch = "sm_90a";
      c.problem.head_dim = dim;
      c.problem.dtype = supported_dtypes[cases.size() / 2 % supported_dtypes.size()];
      c.problem.num_q_heads = 4;
      c.problem.num_kv_heads = 2;
      c.policy.estimator = cases.size() % 3 == 0 ? Estimator::exact : Estimator::int8;
      c.policy.tau = 0.01F;
      c.shape = {2, 129, 500};
      c.strided = cases.size() % 2 == 1;
      set_attend(c, attend);
      if (c.policy.fp8_attend || c.policy.second_filter) {
        cases.push_back(std::move(c));
      }
    }
  }
  return cases;
}

// Pairs of whatever changes an fp8 estimate, on the architecture that has it.
std::vector<CheckCase> fp8_cases() {
  const std::vector<FactorIndex> varied = {head_dim, dtype, gqa,       block_q, block_k, lengths,
                                           layout,   batch, threshold, region,  kbar};
  const std::vector<int> all_sizes = sizes_of_factors();
  std::vector<int> sizes = {static_cast<int>(fp8_estimates.size()), static_cast<int>(attends.size())};
  for (const FactorIndex index : varied) {
    sizes.push_back(all_sizes[index]);
  }
  std::vector<CheckCase> cases;
  for (const Choice &choice : pairwise(sizes, [](const Choice &, int, int) { return true; })) {
    Choice base(factor_count, 0); // selecting
    base[arch] = static_cast<int>(std::find(archs.begin(), archs.end(), std::string_view("sm_90a")) - archs.begin());
    for (std::size_t i = 0; i < varied.size(); ++i) {
      base[varied[i]] = choice[i + 2];
    }
    CheckCase c = make_case(base, 1000 + cases.size());
    set_estimate(c, fp8_estimates[static_cast<std::size_t>(choice[0])]);
    set_attend(c, attends[static_cast<std::size_t>(choice[1])]);
    cases.push_back(std::move(c));
  }
  return cases;
}

struct Variant {
  bool causal;
  int sliding_window;
  float softcap;
  bool sink_logits;
};
// The narrower of the windows leaves nothing to estimate.
constexpr std::array variants = {Variant{true, 100, 0.0F, false}, Variant{true, 400, 0.0F, false},
                                 Variant{true, 0, 5.0F, false},   Variant{false, 0, 0.0F, false},
                                 Variant{true, 0, 0.0F, true},    Variant{true, 400, 30.0F, true}};

void set_variant(CheckCase &c, const Variant &variant) {
  c.problem.causal = variant.causal;
  c.problem.sliding_window = variant.sliding_window;
  c.problem.softcap = variant.softcap;
  c.problem.sink_logits = variant.sink_logits;
}

// 192 channels of Q and K with as many of V, and with 128: on every architecture, and in both families every estimator,
// dense calls and all variants at once.
std::vector<CheckCase> head_dim_192_cases() {
  std::vector<CheckCase> cases;
  const auto add = [&](const char *arch_name, Mode mode_of_call, int v_head_dim) -> CheckCase & {
    const std::size_t i = cases.size();
    CheckCase c;
    c.mode = mode_of_call;
    c.arch = arch_name;
    c.problem.dtype = supported_dtypes[i % supported_dtypes.size()];
    c.problem.head_dim = 192;
    c.problem.v_head_dim = v_head_dim;
    c.problem.num_q_heads = 4;
    c.problem.num_kv_heads = 2;
    c.policy.block_q = supported_block_q[i / 2 % supported_block_q.size()];
    c.policy.block_k = supported_block_k[i % supported_block_k.size()];
    c.policy.sink = narrow.sink;
    c.policy.window = narrow.window;
    c.policy.tau = 0.01F;
    c.shape = {1, 70, 1100};
    c.strided = i % 2 == 1;
    c.seed = i + 1;
    return cases.emplace_back(std::move(c));
  };
  for (const int v_head_dim : {192, 128}) {
    for (const char *each : archs) {
      add(each, Mode::sparse, v_head_dim).policy.estimator = estimators[cases.size() % estimators.size()];
    }
    for (const char *of_family : {"sm_80", "sm_90a"}) {
      add(of_family, Mode::dense, v_head_dim).shape = {2, 129, 333};
    }
  }
  for (const char *of_family : {"sm_80", "sm_90a"}) {
    set_variant(add(of_family, Mode::sparse, 128), variants.back());
  }
  int v_head_dim = 128;
  for (const Fp8Estimate &estimate : {Fp8Estimate{0, false, false, false}, Fp8Estimate{0, false, true, false},
                                      Fp8Estimate{160, true, false, false}, Fp8Estimate{32, false, false, true}}) {
    CheckCase &c = add("sm_90a", Mode::sparse, v_head_dim);
    set_estimate(c, estimate);
    set_attend(c, Attend::filtered);
    v_head_dim = v_head_dim == 128 ? 192 : 128;
  }
  return cases;
}

// Every variant of attention with every value of each factor, with and without selection, and with fp8.
std::vector<CheckCase> variant_cases() {
  const auto holds = [](const Choice &choice, int f, int g) {
    return f == mode && (modes[choice[mode]] == Mode::sparse ? matters(choice, g) : g == dtype);
  };
  const std::vector<int> sizes = sizes_of_factors();
  const std::vector<Choice> choices = pairwise(sizes, holds);
  std::vector<CheckCase> cases;
  for (std::size_t v = 0; v < variants.size(); ++v) {
    const bool fp8_attends = variants[v].softcap == 0.0F && !variants[v].sink_logits;
    for (Choice choice : choices) {
      for (int f = arch; f < factor_count; ++f) {
        choice[f] = (choice[f] + static_cast<int>(v)) % sizes[f]; // else all variants have the same cases
      }
      CheckCase c = make_case(choice, 2000 + cases.size());
      set_variant(c, variants[v]);
      if (c.arch == "sm_90a" && c.mode == Mode::sparse) {
        CheckCase fp8 = c;
        set_estimate(fp8, fp8_estimates[cases.size() % fp8_estimates.size()]);
        set_attend(fp8, fp8_attends ? Attend::fp8 : Attend::filtered);
        cases.push_back(std::move(fp8));
      }
      cases.push_back(std::move(c));
    }
  }
  return cases;
}

// Every variant in both families where selection keeps some blocks and drops others, and more queries than keys.
std::vector<CheckCase> deciding_variant_cases() {
  std::vector<CheckCase> cases;
  for (const char *of_family : {"sm_80", "sm_90a"}) {
    for (const Variant &variant : variants) {
      CheckCase c;
      c.arch = of_family;
      c.problem.head_dim = 64;
      c.problem.num_q_heads = 4;
      c.problem.num_kv_heads = 2;
      set_variant(c, variant);
      c.policy.sink = narrow.sink;
      c.policy.window = narrow.window;
      c.policy.tau = 0.01F;
      c.shape = {1, 70, 1100};
      c.seed = 3;
      cases.push_back(c);
      for (const int keys : {1, 65, 128}) {
        c.policy.window = 0;
        c.shape = {2, 333, keys};
        if (!variant.causal) {
          cases.push_back(c);
        }
      }
    }
  }
  return cases;
}

struct Batch {
  Batching batching;
  int page_size;
  bool pages_by_head;
};
constexpr std::array batches = {Batch{Batching::packed, 0, false}, Batch{Batching::padded, 0, false},
                                Batch{Batching::packed, 64, false}, Batch{Batching::padded, 16, true}};

void set_batch(CheckCase &c, const Batch &value) {
  c.batching = value.batching;
  c.page_size = value.page_size;
  c.pages_by_head = value.pages_by_head;
}

// Lengths: empty ones in front, between and at the end, one row, chunks, edges of blocks, more queries than keys.
const std::vector<std::vector<SequenceLengths>> all_sequences = {{{0, 0}, {70, 333}, {1, 200}, {0, 65}, {33, 33}},
                                                                 {{64, 128}, {0, 0}, {129, 300}, {150, 20}, {1, 1}},
                                                                 {{1, 415}, {127, 127}, {5, 0}, {31, 65}, {0, 0}},
                                                                 {}}; // all alike

// What a ragged batch may meet in each family.
struct ServingKind {
  const char *arch;
  Estimator estimator;
  int fp8_estimate; ///< Of fp8_estimates, where the estimator is fp8.
  Attend attend;
};
constexpr std::array serving_kinds = {ServingKind{"sm_80", Estimator::int4, 0, Attend::plain},
                                      ServingKind{"sm_120", Estimator::int8, 0, Attend::plain},
                                      ServingKind{"sm_90a", Estimator::int8, 0, Attend::plain},
                                      ServingKind{"sm_90a", Estimator::exact, 0, Attend::filtered},
                                      ServingKind{"sm_90a", Estimator::int4, 0, Attend::fp8},
                                      ServingKind{"sm_90a", Estimator::fp8, 0, Attend::fp8},
                                      ServingKind{"sm_90a", Estimator::fp8, 1, Attend::plain},
                                      ServingKind{"sm_90a", Estimator::fp8, 5, Attend::filtered}};

void set_serving_kind(CheckCase &c, const ServingKind &kind) {
  c.arch = kind.arch;
  c.policy.estimator = kind.estimator;
  if (kind.estimator == Estimator::fp8) {
    set_estimate(c, fp8_estimates[static_cast<std::size_t>(kind.fp8_estimate)]);
  }
  set_attend(c, kind.attend);
}

// Every way to hand sequences over with every kind of call in both families, and with all that changes the source.
std::vector<CheckCase> serving_cases() {
  const std::vector<FactorIndex> varied = {head_dim, dtype, gqa, block_q, block_k, layout, kbar};
  const std::vector<int> all_sizes = sizes_of_factors();
  std::vector<int> sizes = {all_sizes[mode], static_cast<int>(batches.size()), static_cast<int>(serving_kinds.size()),
                            static_cast<int>(all_sequences.size())};
  const std::size_t fixed = sizes.size();
  for (const FactorIndex index : varied) {
    sizes.push_back(all_sizes[index]);
  }
  const auto holds = [](const Choice &choice, int f, int g) {
    return modes[choice[0]] == Mode::sparse || (f == 0 && g == 1);
  };
  std::vector<CheckCase> cases;
  for (const Choice &choice : pairwise(sizes, holds)) {
    Choice base(factor_count, 0);
    base[mode] = choice[0];
    base[threshold] = static_cast<int>(cases.size()) % all_sizes[threshold];
    base[region] = 1 + static_cast<int>(cases.size()) % 2; // narrow ones: short sequences have few keys to estimate
    for (std::size_t i = 0; i < varied.size(); ++i) {
      base[varied[i]] = choice[i + fixed];
    }
    CheckCase c = make_case(base, 3000 + 10 * cases.size());
    set_serving_kind(c, serving_kinds[static_cast<std::size_t>(choice[2])]);
    set_batch(c, batches[static_cast<std::size_t>(choice[1])]);
    const auto &sequences = all_sequences[static_cast<std::size_t>(choice[3])];
    c.shape = {2, 129, 300};
    if (!sequences.empty()) {
      set_sequences(c, sequences);
      c.shape.kv_len += c.strided ? 40 : 0; // room that nobody uses
    }
    if (!c.policy.fp8_attend && cases.size() % 2 == 1) {
      set_variant(c, variants[cases.size() / 2 % variants.size()]);
    }
    cases.push_back(std::move(c));
  }
  return cases;
}

} // namespace

std::vector<CheckCase> covering_set() {
  std::vector<CheckCase> cases;
  // Selecting calls run every kernel but the dense one: they hold all pairs, the other modes each value once.
  const auto holds = [](const Choice &choice, int f, int g) {
    return (f == mode || modes[choice[mode]] == Mode::sparse) && matters(choice, f) && matters(choice, g);
  };
  for (const Choice &choice : pairwise(sizes_of_factors(), holds)) {
    cases.push_back(make_case(choice, cases.size() + 1));
  }
  for (const auto &more : {deciding_cases(), policy_kbar_cases(), long_cases(), fp8_cases(), attend_cases(),
                           variant_cases(), deciding_variant_cases(), head_dim_192_cases(), serving_cases()}) {
    cases.insert(cases.end(), more.begin(), more.end());
  }
  return cases;
}

std::vector<CheckCase> full_product() {
  const std::vector<int> sizes = sizes_of_factors();
  std::vector<CheckCase> cases;
  Choice choice(sizes.size(), 0);
  const auto next = [&] {
    for (int f = 0; f < factor_count; ++f) {
      if (changes_source(f)) {
        if (++choice[f] < sizes[f]) {
          return true;
        }
        choice[f] = 0;
      }
    }
    return false;
  };
  const auto repeats_another = [&] {
    for (int f = 0; f < factor_count; ++f) {
      if (choice[f] != 0 && changes_source(f) && !matters(choice, f)) {
        return true;
      }
    }
    return false;
  };
  std::mt19937 random(1);
  do {
    if (!repeats_another()) {
      Choice drawn = choice;
      for (int f = 0; f < factor_count; ++f) {
        drawn[f] = changes_source(f) ? choice[f] : static_cast<int>(random() % static_cast<unsigned>(sizes[f]));
      }
      cases.push_back(make_case(drawn, cases.size() + 1));
    }
  } while (next());
  for (const auto &more : {fp8_cases(), attend_cases(), variant_cases(), deciding_variant_cases(), head_dim_192_cases(),
                           policy_kbar_cases(), serving_cases()}) {
    cases.insert(cases.end(), more.begin(), more.end());
  }
  return cases;
}

} // namespace sale::check
