// SPDX-License-Identifier: Apache-2.0
// What validate says about the parts of a policy that make estimates cheaper.
#include "sale/error.hpp"
#include "sale/types.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <numeric>
#include <string>

namespace sale {
namespace {

/// The refusal of a policy that is fp8 on two KV heads of 128 channels but for `change`; empty when accepted.
std::string refusal(const std::function<void(Policy &)> &change, int head_dim = 128) {
  Problem problem;
  problem.head_dim = head_dim;
  problem.num_q_heads = 4;
  problem.num_kv_heads = 2;
  Policy policy;
  policy.estimator = Estimator::fp8;
  change(policy);
  try {
    validate(policy, problem);
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    return error.what();
  }
  return "";
}

void choose_first_32(Policy &policy) {
  policy.estimate_dim = 32;
  policy.channels.resize(64);
  std::iota(policy.channels.begin(), policy.channels.begin() + 32, 0);
  std::iota(policy.channels.begin() + 32, policy.channels.end(), 96); // the last 32 of head 1
}

TEST(Policy, AcceptsEveryWidthThatTensorCoresTake) {
  for (const int width : {0, 32, 64, 96}) {
    EXPECT_EQ(refusal([&](Policy &p) { p.estimate_dim = width; }), "");
  }
  EXPECT_EQ(refusal([](Policy &p) { p.estimate_dim = 192; }, 256), "");
}

TEST(Policy, RefusesOtherWidths) {
  for (const int width : {-32, 1, 48, 128, 160}) {
    EXPECT_EQ(refusal([&](Policy &p) { p.estimate_dim = width; }),
              "estimate_dim " + std::to_string(width) +
                  " is not supported; give a multiple of 32 below head_dim 128, or 0 for all of it");
  }
}

TEST(Policy, PrunedQueriesNeedAMultipleOf64Channels) {
  EXPECT_EQ(refusal([](Policy &p) { p.prune_queries = true; }), "");
  EXPECT_EQ(refusal([](Policy &p) {
              p.prune_queries = true;
              p.estimate_dim = 64;
            }),
            "");
  EXPECT_EQ(refusal([](Policy &p) {
              p.prune_queries = true;
              p.estimate_dim = 96;
            }),
            "prune_queries needs an estimate of a multiple of 64 channels, not 96; set estimate_dim to one");
  EXPECT_EQ(refusal([](Policy &p) { p.prune_queries = true; }, 96),
            "prune_queries needs an estimate of a multiple of 64 channels, not 96; set estimate_dim to one");
}

TEST(Policy, ChannelsAscendPerHeadAndAreInRange) {
  EXPECT_EQ(refusal(choose_first_32), "");
  EXPECT_EQ(refusal([](Policy &p) {
              choose_first_32(p);
              p.channels.pop_back();
            }),
            "channels has 63 entries; give num_kv_heads 2 x estimate_dim 32 or none");
  EXPECT_EQ(refusal([](Policy &p) {
              choose_first_32(p);
              p.estimate_dim = 0;
            }),
            "channels has 64 entries; give num_kv_heads 2 x estimate_dim 0 or none");
  for (const int channel : {-1, 128}) {
    EXPECT_EQ(refusal([&](Policy &p) {
                choose_first_32(p);
                p.channels.back() = channel;
              }),
              "channel " + std::to_string(channel) + " of KV head 1 must be between 0 and 127");
  }
  EXPECT_EQ(refusal([](Policy &p) {
              choose_first_32(p);
              p.channels[1] = 0;
            }),
            "channel 0 of KV head 0 comes after channel 0; the channels of a head must ascend");
}

TEST(Policy, AProjectionIsWholeFiniteAndAlone) {
  const auto project = [](Policy &p) {
    p.estimate_dim = 32;
    p.projection.resize(std::size_t{2} * 2 * 32 * 128);
  };
  EXPECT_EQ(refusal(project), "");
  EXPECT_EQ(refusal([](Policy &p) { p.projection.resize(std::size_t{2} * 2 * 128 * 128); }), "");
  EXPECT_EQ(refusal([&](Policy &p) {
              project(p);
              p.projection.pop_back();
            }),
            "projection has 16383 entries; give num_kv_heads 2 x 2 x estimate_dim 32 x head_dim 128 or none");
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_EQ(refusal([&](Policy &p) {
                project(p);
                p.projection[77] = bad;
              }),
              "projection has an infinity or a NaN; every entry must be a finite number");
  }
  EXPECT_EQ(refusal([&](Policy &p) {
              choose_first_32(p);
              project(p);
            }),
            "channels and projection exclude each other; give one of them");
  EXPECT_EQ(refusal([&](Policy &p) {
              project(p);
              p.prune_queries = true;
            }),
            "prune_queries and projection exclude each other; choose one of them");
}

TEST(Policy, AKbarIsWholeFiniteAndOfCodes) {
  const auto center = [](Policy &p) { p.kbar.resize(std::size_t{2} * 128); };
  EXPECT_EQ(refusal([&](Policy &p) {
              p.estimator = Estimator::int8;
              center(p);
            }),
            "");
  EXPECT_EQ(refusal([&](Policy &p) {
              p.estimator = Estimator::int8;
              center(p);
              p.kbar.push_back(0);
            }),
            "kbar has 257 entries; give num_kv_heads 2 x head_dim 128 or none");
  EXPECT_EQ(refusal([&](Policy &p) {
              center(p);
              p.kbar[77] = std::numeric_limits<float>::quiet_NaN();
            }),
            "kbar has an infinity or a NaN; every entry must be a finite number");
  EXPECT_EQ(refusal([&](Policy &p) {
              p.estimator = Estimator::exact;
              center(p);
            }),
            "kbar is given, but estimator exact makes no codes of K; leave it out or choose another estimator");
}

TEST(Policy, CheaperEstimatesBelongToFp8) {
  for (const Estimator estimator : {Estimator::exact, Estimator::int8, Estimator::int4}) {
    const std::function<void(Policy &)> changes[] = {
        [](Policy &p) { p.estimate_dim = 32; },
        choose_first_32,
        [](Policy &p) { p.projection = {1.0F}; },
        [](Policy &p) { p.prune_queries = true; },
    };
    for (const auto &change : changes) {
      EXPECT_EQ(refusal([&](Policy &p) {
                  change(p);
                  p.estimator = estimator;
                }),
                std::string("estimate_dim, channels, projection and prune_queries belong to estimator fp8, not ") +
                    to_string(estimator) + "; leave them out or choose fp8");
    }
  }
}

TEST(Policy, DenseBelowIsANumberOfKeys) {
  EXPECT_EQ(refusal([](Policy &p) { p.dense_below = 4096; }), "");
  EXPECT_EQ(refusal([](Policy &p) { p.dense_below = -1; }), "dense_below -1 must be a number of keys, 0 or more");
}

} // namespace
} // namespace sale
