// SPDX-License-Identifier: Apache-2.0
// 64 query rows of one head in the registers of a warpgroup, and their estimates against a tile of keys
// (docs/numerics.md, section 12).
//
// A thread holds of D, for its rows lane/4 and lane/4 + 8, two neighbouring columns in every eight: over 32 keys, which
// share a scale, four pairs a row. Their maximum as a pair, one fma and the sign bits tell what is kept.
#pragma once

#include "args/select_wgmma_args.cuh"
#include "device/element.cuh"
#include "device/half2.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/wgmma.cuh"
#include "select/code_ring.cuh"
#include "select/select_units.cuh"

// The largest f16 that is at most x, twice; NaN stays NaN.
SALE_DEVICE u32 round_down_pair(f32 x) {
  u32 pair = F16::pack(x, x);
  if (F16::low(pair) > x) {
    pair += (pair & 0x8000U) != 0 ? 0x00010001U : 0xfffeffffU; // away from zero, or toward it: the next one below
  }
  return pair;
}

template <class Config>
class CodeRows {
  using Layout = SelectLayout<Config>;
  static constexpr int step_bytes = Config::pruned ? 64 : 32; // of a row of K that one wgmma takes
  static constexpr int k_steps = Layout::row_bytes / step_bytes;
  static constexpr int q_row_bytes = k_steps * 32;
  using Mma = Wgmma<typename Config::Operand, F16, Layout::keys, WgmmaSource::registers, WgmmaMajor::k,
                    Config::pruned ? WgmmaDensity::sparse : WgmmaDensity::dense>;

public:
  static constexpr int words = Layout::keys / 4;                // registers of D
  static constexpr int blocks = Layout::keys / Config::block_k; // key blocks of a tile

  // Registers that load_codes() fills.
  static constexpr int code_registers = k_steps * (Config::pruned ? 5 : 4);

  // Both start loading; who uses the values waits for them.
  SALE_DEVICE void load_thresholds(const SelectWgmmaArgs &args, const SelectUnit<Config> &unit) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      theta_[r] = load_global_f32(args.theta + first_row(args, unit) + lane_row() + r * 8);
    }
  }
  SALE_DEVICE void load_codes(const SelectWgmmaArgs &args, const SelectUnit<Config> &unit) {
    const s64 first = first_row(args, unit);
    const u8 *q = args.q_codes + (first + lane_row()) * q_row_bytes + lane_index() % 4 * 4;
#pragma unroll
    for (int k = 0; k < k_steps; ++k) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        q_[k][r] = load_global_4(q + r * 8 * q_row_bytes + k * 32);
        q_[k][r + 2] = load_global_4(q + r * 8 * q_row_bytes + k * 32 + 16);
      }
      if constexpr (Config::pruned) {
        metadata_[k] = load_global_4(args.q_metadata + (first / 64 * k_steps + k) * 128 + thread_index() % 128);
      }
    }
  }

  // Between load_thresholds() and below().
  SALE_DEVICE void settle() {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      minus_theta_[r] = round_down_pair(theta_[r]) ^ 0x80008000U;
    }
  }

  // Starts D = Q · K for the ring's present tile; wgmma_wait() ends it.
  SALE_DEVICE void multiply(u32 (&d)[words], const CodeRing<Config> &ring) const {
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < k_steps; ++k) {
      if constexpr (Config::pruned) {
        Mma::run(d, q_[k], ring.descriptor(k * step_bytes), metadata_[k], k != 0);
      } else {
        Mma::run(d, q_[k], ring.descriptor(k * step_bytes), k != 0);
      }
    }
    wgmma_commit();
  }

  // Bits b and b + 16 of the result are clear where this thread saw a pair that keeps the tile's key block b.
  SALE_DEVICE u32 below(const u32 (&d)[words], const CodeScales<Config> &scales) const {
    u32 bits = 0;
#pragma unroll
    for (int b = 0; b < blocks; ++b) {
      u32 signs = ~0U; // 15 and 31: no pair of the block so far keeps it
#pragma unroll
      for (int s = b * (Config::block_k / 32); s < (b + 1) * (Config::block_k / 32); ++s) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const u32 *column = d + s * 8 + r;
          const u32 best = max_half2(max_half2(max_half2(column[0], column[2]), column[4]), column[6]);
          signs &= fma_half2(minus_theta_[r], scales.pair(s), best);
        }
      }
      bits |= signs >> (15 - b) & 0x00010001U << b;
    }
    return bits;
  }

private:
  static SALE_DEVICE s64 first_row(const SelectWgmmaArgs &args, const SelectUnit<Config> &unit) {
    return unit.query_head * (ceil_div(args.q_len, 128) * s64{128}) + unit.first_row;
  }
  static SALE_DEVICE u32 lane_row() { return thread_index() % 128 / 32 * 16 + lane_index() / 4; }

  u32 q_[k_steps][4];
  u32 metadata_[k_steps];
  f32 theta_[2];
  u32 minus_theta_[2];
};
