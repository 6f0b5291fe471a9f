// SPDX-License-Identifier: Apache-2.0
#include "generator/generate.hpp"
#include "generator/kernel_spec.hpp"
#include "sale/error.hpp"

#include <gtest/gtest.h>

namespace sale {
namespace {

Problem problem_of(int head_dim) {
  Problem problem;
  problem.head_dim = head_dim;
  return problem;
}

TEST(KernelSpecTest, EveryDefaultTileFitsEveryArchitecture) {
  for (const Arch &arch : supported_archs()) {
    for (const int head_dim : {64, 96, 128, 256}) {
      for (const Estimator estimator : {Estimator::exact, Estimator::int8, Estimator::int4}) {
        for (const int block_q : {64, 128}) {
          for (const int block_k : {32, 64, 128}) {
            Policy policy;
            policy.estimator = estimator;
            policy.block_q = block_q;
            policy.block_k = block_k;
            for (const KernelSpec &spec : plan_kernels(problem_of(head_dim), policy, arch)) {
              EXPECT_NO_THROW(validate(spec)) << spec.describe();
              EXPECT_LE(spec.shared_memory(), arch.max_shared_memory()) << spec.describe();
            }
          }
        }
      }
    }
  }
}

TEST(KernelSpecTest, APlanNamesItsKernelsInLaunchOrder) {
  const auto specs = plan_kernels(Problem{}, Policy{}, Arch{9, 0});
  ASSERT_EQ(specs.size(), 6U);
  EXPECT_EQ(specs[0].stage, Stage::mean);
  EXPECT_EQ(specs[1].stage, Stage::quantize);
  EXPECT_EQ(specs[2].stage, Stage::prepare);
  EXPECT_EQ(specs[3].stage, Stage::select);
  EXPECT_EQ(specs[4].stage, Stage::attend);
  EXPECT_FALSE(specs[4].dense);
  EXPECT_TRUE(specs[5].dense);
}

TEST(KernelSpecTest, TheExactEstimatorNeedsNoCodes) {
  Policy policy;
  policy.estimator = Estimator::exact;
  EXPECT_EQ(plan_kernels(Problem{}, policy, Arch{9, 0}).size(), 4U);
}

std::string stages_of(const Policy &policy) {
  std::string text;
  for (const KernelSpec &spec : plan_kernels(Problem{}, policy, Arch{9, 0, true})) {
    text += std::string(text.empty() ? "" : " ") + to_string(spec.stage);
  }
  return text;
}

TEST(PlanKernels, EncodeKeysOnceWhereTheEstimateReadsAllChannels) {
  Policy policy;
  policy.fp8_attend = true;
  policy.estimator = Estimator::fp8;
  EXPECT_EQ(stages_of(policy), "mean quantize amax values prepare select attend attend");
  policy.estimate_dim = 64;
  EXPECT_EQ(stages_of(policy), "mean channels quantize quantize amax values prepare select attend attend");
  policy.estimate_dim = 0;
  policy.estimator = Estimator::exact;
  EXPECT_EQ(stages_of(policy), "mean quantize amax values prepare select attend attend");
}

TEST(KernelSpecTest, Int4CodesArePackedWhereTensorCoresTakeThem) {
  KernelSpec spec;
  spec.estimator = Estimator::int4;
  spec.head_dim = 128;
  spec.arch = {8, 0};
  EXPECT_EQ(spec.code_row_bytes(), 64);
  spec.head_dim = 96; // padded to whole MMA operands of 32 bytes
  EXPECT_EQ(spec.code_row_bytes(), 64);
  spec.arch = {9, 0};
  EXPECT_EQ(spec.code_row_bytes(), 96);
}

TEST(KernelSpecTest, DescriptionsTellDifferentKernelsApart) {
  KernelSpec spec;
  KernelSpec dense = spec;
  dense.dense = true;
  KernelSpec wide = spec;
  wide.tile.keys_per_step = 128;
  EXPECT_NE(spec.describe(), dense.describe());
  EXPECT_NE(spec.describe(), wide.describe());
  EXPECT_NE(spec.describe().find("attend sm_90 bf16 d128"), std::string::npos) << spec.describe();
}

TEST(KernelSpecTest, DescriptionsNameTheVariantsThatTheStageReads) {
  KernelSpec spec;
  const std::string plain = spec.describe();
  EXPECT_EQ(spec.variants(), "");
  spec.causal = false;
  spec.softcap = true;
  spec.sink_logits = true;
  EXPECT_EQ(spec.variants(), " noncausal softcap sinks");
  EXPECT_NE(spec.describe().find(" noncausal softcap sinks q64 k32"), std::string::npos) << spec.describe();
  spec.stage = Stage::select;
  EXPECT_EQ(spec.variants(), " noncausal");
  spec.causal = true;
  spec.sliding = true;
  EXPECT_EQ(spec.variants(), " sliding");
  spec.stage = Stage::quantize;
  EXPECT_EQ(spec.variants(), "");
}

TEST(KernelSpecTest, OnlyAttendTellsTheChannelsOfVApart) {
  Problem problem;
  problem.head_dim = 192;
  problem.v_head_dim = 128;
  for (const KernelSpec &spec : plan_kernels(problem, Policy(), Arch{9, 0, true})) {
    EXPECT_EQ(spec.describe().find(" d192 v128 ") != std::string::npos, spec.stage == Stage::attend) << spec.describe();
    EXPECT_NO_THROW(validate(spec));
  }
}

TEST(KernelSpecTest, WhatNoKernelCanDoIsRefusedInASentence) {
  const auto refused = [](auto change) {
    KernelSpec spec;
    spec.tile = default_tile(spec);
    change(spec);
    try {
      validate(spec);
    } catch (const Error &error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(refused([](KernelSpec &s) { s.head_dim = 80; }),
            "head_dim 80 is not supported; supported are 64, 96, 128, 192 and 256");
  EXPECT_EQ(refused([](KernelSpec &s) { s.block_k = 48; }),
            "block_k 48 is not supported; supported are 32, 64 and 128");
  EXPECT_NE(refused([](KernelSpec &s) { s.tile.rows_per_warp = 24; }).find("must be 16 or 32, or 64 for select"),
            std::string::npos);
  EXPECT_NE(refused([](KernelSpec &s) { s.tile.keys_per_step = 40; }).find("keys_per_step 40"), std::string::npos);
  EXPECT_NE(refused([](KernelSpec &s) { s.tile.keys_per_step = 96; }).find("keys_per_step 96"), std::string::npos);
  EXPECT_NE(refused([](KernelSpec &s) { s.tile.warps = 3; }).find("attend cannot share 96 rows"), std::string::npos);
  EXPECT_NE(refused([](KernelSpec &s) {
              s.stage = Stage::prepare;
              s.tile = default_tile(s);
              s.tile.warps = 3;
            }).find("prepare cannot share 96 rows"),
            std::string::npos);
  EXPECT_NE(refused([](KernelSpec &s) { s.tile.stages = 1; }).find("stages"), std::string::npos);
  EXPECT_NE(refused([](KernelSpec &s) {
              s.arch = {8, 9};
              s.tile.stages = 8;
            }).find("bytes of shared memory"),
            std::string::npos);
  EXPECT_EQ(refused([](KernelSpec &s) {
              s.causal = false;
              s.sliding = true;
            }),
            "a sliding window needs causal attention; no kernel has it without");
  EXPECT_EQ(refused([](KernelSpec &s) {
              s.fp8_attend = true;
              s.softcap = true;
            }),
            "fp8_attend has no kernels with softcap or sink_logits");
  EXPECT_EQ(refused([](KernelSpec &s) {
              s.arch = {9, 0, true};
              s.head_dim = 192;
              s.fp8_attend = true;
            }),
            "fp8_attend has kernels for sm_90a and head_dim 64, 128 and 256 only, not for sm_90a and 192");
  EXPECT_NE(refused([](KernelSpec &s) {
              s.stage = Stage::quantize;
              s.estimator = Estimator::exact;
            }).find("no quantize kernel"),
            std::string::npos);
}

} // namespace
} // namespace sale
