// SPDX-License-Identifier: Apache-2.0
#include "check/covering_set.hpp"

#include "check/run_case.hpp"
#include "generator/generate.hpp"
#include "reference/means.hpp"
#include "reference/region.hpp"
#include "reference/select.hpp"
#include "reference/thresholds.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <set>

namespace sale::check {
namespace {

using Property = std::function<std::string(const CheckCase &)>;

// Read from the cases, not from the factors that made them.
const std::vector<Property> properties = {
    [](const CheckCase &c) { return c.arch; },
    [](const CheckCase &c) { return std::string(to_string(c.problem.dtype)); },
    [](const CheckCase &c) { return std::to_string(c.problem.head_dim); },
    [](const CheckCase &c) { return std::to_string(c.problem.num_q_heads / c.problem.num_kv_heads); },
    [](const CheckCase &c) { return std::string(to_string(c.policy.estimator)); },
    [](const CheckCase &c) { return std::to_string(c.policy.block_q); },
    [](const CheckCase &c) { return std::to_string(c.policy.block_k); },
    [](const CheckCase &c) { return std::to_string(c.shape.q_len) + "/" + std::to_string(c.shape.kv_len); },
    [](const CheckCase &c) { return std::string(c.strided ? "strided" : "packed"); },
    [](const CheckCase &c) { return std::to_string(c.policy.sink) + "/" + std::to_string(c.policy.window); },
};

bool is_fp8(const CheckCase &c) { return c.policy.estimator == Estimator::fp8; }

// Not of the pairs: the variants of attention, and the head_dim that has cases of its own.
bool is_ragged(const CheckCase &c) { return c.batching != Batching::plain; }

bool is_variant(const CheckCase &c) {
  const Problem &p = c.problem;
  return p.head_dim == 192 || !p.causal || p.sliding_window != 0 || p.softcap != 0.0F || p.sink_logits;
}

void expect_every_pair(const std::vector<CheckCase> &cases) {
  for (std::size_t f = 0; f < properties.size(); ++f) {
    for (std::size_t g = f + 1; g < properties.size(); ++g) {
      std::set<std::string> first;
      std::set<std::string> second;
      std::set<std::pair<std::string, std::string>> pairs;
      for (const CheckCase &c : cases) {
        first.insert(properties[f](c));
        second.insert(properties[g](c));
        pairs.insert({properties[f](c), properties[g](c)});
      }
      EXPECT_EQ(pairs.size(), first.size() * second.size()) << "properties " << f << " and " << g;
    }
  }
}

TEST(CoveringSet, HoldsEveryPairAmongSelectingCalls) {
  std::vector<CheckCase> cases = covering_set();
  std::erase_if(
      cases, [](const CheckCase &c) { return c.mode != Mode::sparse || is_fp8(c) || is_variant(c) || is_ragged(c); });
  expect_every_pair(cases);
}

TEST(CoveringSet, HoldsEveryPairAmongFp8Estimates) {
  std::vector<CheckCase> cases = covering_set();
  std::erase_if(cases, [](const CheckCase &c) { return !is_fp8(c) || is_variant(c) || is_ragged(c); });
  expect_every_pair(cases);
  std::set<std::string> kinds;
  for (const CheckCase &c : cases) {
    const Policy &p = c.policy;
    kinds.insert(std::string(p.estimate_dim == 0  ? "all"
                             : p.channels.empty() ? "chosen"
                                                  : "given") +
                 (p.projection.empty() ? "" : " projected") + (p.prune_queries ? " pruned" : "") +
                 (p.fp8_attend ? " fp8" : "") + (p.second_filter ? " filtered" : ""));
  }
  for (const char *kind : {"all", "chosen", "given", "all pruned", "given pruned", "chosen projected", "all fp8",
                           "chosen fp8", "given filtered", "given pruned fp8", "all pruned filtered"}) {
    EXPECT_TRUE(kinds.contains(kind)) << kind;
  }
}

TEST(CoveringSet, HasEveryArchitectureHeadDimGroupAndEstimator) {
  std::vector<std::set<std::string>> values(properties.size());
  std::set<Mode> modes;
  for (const CheckCase &c : covering_set()) {
    modes.insert(c.mode);
    for (std::size_t f = 0; f < properties.size(); ++f) {
      values[f].insert(properties[f](c));
    }
  }
  EXPECT_EQ(modes.size(), 3U);
  EXPECT_EQ(values[0], (std::set<std::string>{"sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_100", "sm_120"}));
  EXPECT_EQ(values[2], (std::set<std::string>{"64", "96", "128", "192", "256"}));
  EXPECT_EQ(values[3], (std::set<std::string>{"1", "2", "4", "7"}));
  EXPECT_EQ(values[4], (std::set<std::string>{"exact", "int8", "int4", "fp8"}));
}

// Whether some estimated block is kept and some is dropped: else a select that estimates wrongly may pass.
bool decides(const CheckCase &c) {
  const reference::Tensors tensors = make_data(c);
  const float scale = effective_softmax_scale(c.problem);
  const reference::Mask mask =
      reference::select(tensors, c.policy, scale, reference::mean_keys(tensors), reference::mean_queries(tensors),
                        reference::thresholds(tensors, c.policy, scale).value);
  std::array<bool, 2> seen = {false, false};
  for (int b = 0; b < mask.batch(); ++b) {
    for (int h = 0; h < mask.num_q_heads(); ++h) {
      for (int m = 0; m < mask.q_blocks() && reference::tau_of(c.policy, h) > 0; ++m) {
        const reference::Region region = reference::region_of(c.policy, c.problem, c.shape, m);
        for (int j = region.first_estimated; j < region.end_estimated; ++j) {
          seen[mask.test(b, h, m, j) ? 1 : 0] |= region.estimated(j);
        }
      }
    }
  }
  return seen[0] && seen[1];
}

TEST(CoveringSet, KeepsSomeEstimatedBlocksAndDropsOthersWithEveryEstimator) {
  std::set<std::string> archs;
  std::set<std::string> head_dims;
  std::set<std::string> blocks;
  std::size_t deciding = 0;
  const std::vector<CheckCase> cases = covering_set();
  for (const CheckCase &c : cases) {
    if (c.mode == Mode::sparse && !is_ragged(c) && decides(c)) {
      const std::string estimator = to_string(c.policy.estimator);
      archs.insert(estimator + c.arch);
      head_dims.insert(estimator + std::to_string(c.problem.head_dim));
      blocks.insert(estimator + std::to_string(c.policy.block_q) + "x" + std::to_string(c.policy.block_k));
      ++deciding;
    }
  }
  EXPECT_EQ(archs.size(), 3U * 7U + 1U); // fp8 on sm_90a alone
  EXPECT_EQ(head_dims.size(), 4U * 5U);
  EXPECT_EQ(blocks.size(), 4U * 6U);
  EXPECT_GT(deciding, cases.size() / 3);
}

TEST(CoveringSet, KeepsSomeEstimatedBlocksAndDropsOthersWithEveryVariantInBothFamilies) {
  std::set<std::string> variants;
  for (const CheckCase &c : covering_set()) {
    const Problem &p = c.problem;
    const char *variant = !p.causal                                ? "non-causal"
                          : p.sliding_window != 0 && p.sink_logits ? "all"
                          : p.sliding_window != 0                  ? "sliding"
                          : p.softcap != 0.0F                      ? "softcap"
                          : p.sink_logits                          ? "sinks"
                                                                   : "";
    if (c.mode == Mode::sparse && !is_ragged(c) && *variant != '\0' && decides(c)) {
      variants.insert(std::string(variant) + (c.arch == "sm_90a" ? " wgmma" : " mma.sync"));
    }
  }
  EXPECT_EQ(variants.size(), 5U * 2U) << ::testing::PrintToString(variants);
}

TEST(CoveringSet, HasEveryKbarWithEveryEstimatorInPlainAndRaggedBatches) {
  std::set<std::string> found;
  for (const CheckCase &c : covering_set()) {
    if (c.mode == Mode::sparse && c.policy.estimator != Estimator::exact) {
      found.insert(fmt::format("{} {} {}", to_string(c.kbar), to_string(c.policy.estimator),
                               is_ragged(c)         ? "ragged"
                               : c.shape.batch == 1 ? "one"
                                                    : "batch"));
    }
  }
  EXPECT_EQ(found.size(), 3U * 3U * 3U) << ::testing::PrintToString(found);
}

TEST(CoveringSet, HasValuesOfFewerChannelsThanKeysInBothFamilies) {
  std::set<std::string> found;
  for (const CheckCase &c : covering_set()) {
    if (effective_v_head_dim(c.problem) != c.problem.head_dim) {
      found.insert(std::string(to_string(c.mode)) + (c.arch == "sm_90a" ? " wgmma" : " mma.sync"));
    }
  }
  EXPECT_EQ(found, (std::set<std::string>{"dense mma.sync", "dense wgmma", "sparse mma.sync", "sparse wgmma"}));
}

TEST(CoveringSet, HasMasksOfMoreThanOneWordARowWithEveryEstimator) {
  std::set<Estimator> estimators;
  for (const CheckCase &c : covering_set()) {
    const reference::Mask mask(c.shape, c.problem.num_q_heads, c.policy.block_q, c.policy.block_k);
    if (c.mode == Mode::sparse && mask.k_blocks() > 32) {
      estimators.insert(c.policy.estimator);
    }
  }
  EXPECT_EQ(estimators.size(), 4U);
}

TEST(CoveringSet, HasMasksThatAttendWalksInSeveralBatchesOnEveryArchitecture) {
  std::set<std::string> archs;
  for (const CheckCase &c : covering_set()) {
    if (c.mode == Mode::given_mask && c.policy.block_k == 32 && c.shape.kv_len > 256 * c.policy.block_k) {
      archs.insert(c.arch);
    }
  }
  EXPECT_EQ(archs.size(), 7U);
}

TEST(CoveringSet, HasEveryWayToHandSequencesOverWithEveryEstimatorInBothFamilies) {
  std::set<std::string> all;
  std::set<std::string> ways;
  std::set<std::string> kinds;
  std::set<std::string> modes;
  bool some_are_empty = false;
  for (const CheckCase &c : covering_set()) {
    if (is_ragged(c)) {
      const std::string way = std::string(to_string(c.batching)) + " " + std::to_string(c.page_size);
      ways.insert(way);
      modes.insert(way + " " + to_string(c.mode));
      for (const SequenceLengths &sequence : c.sequences) {
        some_are_empty = some_are_empty || (sequence.q_len == 0 && sequence.kv_len == 0);
      }
      if (c.mode == Mode::sparse) {
        const std::string kind =
            std::string(c.arch == "sm_90a" ? "wgmma " : "mma.sync ") + to_string(c.policy.estimator);
        kinds.insert(kind);
        all.insert(kind + " " + way);
      }
    }
  }
  EXPECT_EQ(ways, (std::set<std::string>{"packed 0", "padded 0", "packed 64", "padded 16"}));
  EXPECT_EQ(kinds.size(), 2U + 4U);
  EXPECT_EQ(all.size(), ways.size() * kinds.size());
  EXPECT_EQ(modes.size(), ways.size() * 3);
  EXPECT_TRUE(some_are_empty);
}

TEST(CoveringSet, IsMadeOfCasesThatHaveKernels) {
  for (const CheckCase &c : covering_set()) {
    EXPECT_NO_THROW(validate(c)) << c.yaml();
  }
}

TEST(FullProduct, HoldsEveryKernelOfTheCoveringSetAndMore) {
  const auto sources_of = [](const std::vector<CheckCase> &cases) {
    std::set<std::string> names;
    for (const CheckCase &c : cases) {
      for (const KernelSpec &spec : plan_kernels(c.problem, c.policy, parse_arch(c.arch), c.serving())) {
        names.insert(spec.describe());
      }
    }
    return names;
  };
  const auto all = sources_of(full_product());
  const auto covered = sources_of(covering_set());
  EXPECT_GT(all.size(), covered.size());
  for (const std::string &name : covered) {
    EXPECT_TRUE(all.contains(name)) << name;
  }
}

} // namespace
} // namespace sale::check
