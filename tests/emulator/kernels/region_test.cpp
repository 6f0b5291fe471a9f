// SPDX-License-Identifier: Apache-2.0
// The region that kernels compute against the oracle's, on the host: it is plain arithmetic.
#include "reference/region.hpp"

#define __device__
#define __forceinline__ inline
#include "common/region.cuh"

#include <gtest/gtest.h>

#include <initializer_list>

namespace sale::test {
namespace {

template <bool is_causal, bool is_sliding, bool is_ragged, int rows, int keys>
struct RegionConfig {
  static constexpr bool causal = is_causal;
  static constexpr bool sliding = is_sliding;
  static constexpr bool ragged = is_ragged;
  static constexpr bool parts = false;
  static constexpr int block_q = rows;
  static constexpr int block_k = keys;
};

// What Region and Sequence read of a kernel's arguments.
struct Args {
  int q_len;
  int kv_len;
  int sink;
  int window;
  int sliding_window;
  RaggedArg ragged;
};

template <class Config>
void expect_as_oracle(std::initializer_list<int> sliding_windows) {
  for (const int sliding_window : sliding_windows) {
    Problem problem;
    problem.causal = Config::causal;
    problem.sliding_window = sliding_window;
    for (const int sink : {0, 1, 32, 200, 5000}) {
      for (const int window : {0, 31, 128, 4000}) {
        for (const Shape shape :
             {Shape{1, 1, 1}, Shape{1, 1025, 1025}, Shape{1, 300, 1024}, Shape{1, 1, 700}, Shape{1, 900, 500}}) {
          if (Config::causal && !Config::ragged && shape.q_len > shape.kv_len) {
            continue;
          }
          SequenceEntry entry{};
          entry.q_len = shape.q_len;
          entry.kv_len = shape.kv_len;
          entry.position = shape.kv_len - shape.q_len;
          Args args = {shape.q_len, shape.kv_len, sink, window, sliding_window, {}};
          args.ragged.sequences = &entry;
          const Sequence<Config> sequence(args, 0);
          Policy policy;
          policy.block_q = Config::block_q;
          policy.block_k = Config::block_k;
          policy.sink = sink;
          policy.window = window;
          for (int m = 0; m * Config::block_q < shape.q_len; ++m) {
            const reference::Region oracle = reference::region_of(policy, problem, shape, m);
            const int p0 = shape.kv_len - shape.q_len + m * Config::block_q;
            const ::Region<Config> region(m, sequence, args);
            ASSERT_EQ(region.first_visible, oracle.first_visible);
            ASSERT_EQ(region.visible, oracle.visible_blocks);
            ASSERT_EQ(region.first_estimated, oracle.first_estimated);
            ASSERT_EQ(region.end_estimated, oracle.end_estimated);
            ASSERT_EQ(region.near_begin, oracle.near_begin);
            ASSERT_EQ(region.near_end, oracle.near_end);
            ASSERT_EQ(::first_visible_key<Config>(p0, sliding_window),
                      reference::describe_tensors(problem, shape).first_key(m * Config::block_q));
          }
        }
      }
    }
  }
}

template <bool causal, bool sliding, bool ragged = false>
void expect_of_every_block_size(std::initializer_list<int> sliding_windows) {
  expect_as_oracle<RegionConfig<causal, sliding, ragged, 64, 32>>(sliding_windows);
  expect_as_oracle<RegionConfig<causal, sliding, ragged, 64, 128>>(sliding_windows);
  expect_as_oracle<RegionConfig<causal, sliding, ragged, 128, 64>>(sliding_windows);
}

TEST(RegionOfKernels, IsTheOraclesWhenCausal) { expect_of_every_block_size<true, false>({0}); }

TEST(RegionOfKernels, IsTheOraclesWhereRowsComeBeforeAllKeys) {
  expect_of_every_block_size<true, false, true>({0});
  expect_of_every_block_size<true, true, true>({64, 500});
}

TEST(RegionOfKernels, IsTheOraclesWithASlidingWindow) {
  expect_of_every_block_size<true, true>({1, 31, 32, 64, 100, 127, 500, 4096});
}

TEST(RegionOfKernels, IsTheOraclesWhenNotCausal) { expect_of_every_block_size<false, false>({0}); }

} // namespace
} // namespace sale::test
