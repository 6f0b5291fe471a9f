// SPDX-License-Identifier: Apache-2.0
// The 64 query rows of a consumer of wgmma attend as the first operand of Q·K: in registers, so that their place is
// free for the next item's at once and the products read less of shared memory; wide rows do not fit and stay where
// they are.
#pragma once

#include "attend/wgmma/attend_shared.cuh"
#include "device/ldmatrix.cuh"
#include "device/matrix_descriptor.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/wgmma.cuh"

// Columns 16k.. of this warp's 16 rows.
template <class Config>
SALE_DEVICE void load_query_fragment(u32 (&fragment)[4], u32 q_block, int k) {
  const u32 row = thread_index() % 128 / 32 * 16 + lane_index() % 16;
  const u32 chunk = k % 4 * 2 + lane_index() / 16;
  ldmatrix_x4(fragment,
              q_block + k / 4 * AttendLayout<Config>::q_panel_bytes + row * 128 + ((chunk ^ (row & 7U)) << 4));
}

template <class Config>
class QueriesInRegisters {
  using Mma = Wgmma<typename Config::Element, f32, Config::keys_per_step, WgmmaSource::registers, WgmmaMajor::k,
                    WgmmaDensity::dense>;

public:
  static constexpr bool leave_early = true;

  SALE_DEVICE void take(u32 q_block) {
#pragma unroll
    for (int k = 0; k < Config::head_dim / 16; ++k) {
      load_query_fragment<Config>(fragment_[k], q_block, k);
    }
  }
  SALE_DEVICE void multiply(f32 (&scores)[Config::keys_per_step / 2], int k, u64 keys) const {
    Mma::run(scores, fragment_[k], keys, k != 0);
  }
  SALE_DEVICE void fragment(u32 (&fragment)[4], int k) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      fragment[i] = fragment_[k][i];
    }
  }

private:
  u32 fragment_[Config::head_dim / 16][4];
};

template <class Config>
class QueriesInShared {
  using Mma = Wgmma<typename Config::Element, f32, Config::keys_per_step, WgmmaSource::shared, WgmmaMajor::k,
                    WgmmaDensity::dense>;

public:
  static constexpr bool leave_early = false;

  SALE_DEVICE void take(u32 q_block) { q_block_ = q_block; }
  SALE_DEVICE void multiply(f32 (&scores)[Config::keys_per_step / 2], int k, u64 keys) const {
    const int offset = k / 4 * AttendLayout<Config>::q_panel_bytes + k % 4 * 32;
    const u64 queries = matrix_descriptor(q_block_, 16, 1024, MatrixSwizzle::bytes_128);
    Mma::run(scores, queries + static_cast<u64>(offset / 16), keys, k != 0);
  }
  SALE_DEVICE void fragment(u32 (&fragment)[4], int k) const { load_query_fragment<Config>(fragment, q_block_, k); }

private:
  u32 q_block_;
};

template <class Config, bool in_registers>
struct QueriesOf {
  using Type = QueriesInRegisters<Config>;
};
template <class Config>
struct QueriesOf<Config, false> {
  using Type = QueriesInShared<Config>;
};
