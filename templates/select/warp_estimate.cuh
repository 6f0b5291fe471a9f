// SPDX-License-Identifier: Apache-2.0
// The estimates of one warp: its query rows against a tile of keys, reduced at once to one bit per key block.
//
// A lane holds of each 16x8 accumulator tile rows lane/4 and lane/4 + 8 and columns 2(lane%4), 2(lane%4) + 1. Over the
// four tiles of a 32-key sub-block these are eight keys per row that share one K scale: all keys of an int8 sub-block
// do, and the columns are exactly int4's group t = lane%4. So a row costs a lane one maximum over eight values, one
// multiplication and one comparison, and lanes meet only when a mask word is complete.
#pragma once

#include "args/select_args.cuh"
#include "common/estimator.cuh"
#include "common/sequence.cuh"
#include "common/swizzle.cuh"
#include "device/ldmatrix.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/mma.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"
#include "select/integer_frame.cuh"
#include "select/key_tiles.cuh"

template <class Config>
class WarpEstimate {
  using Layout = SelectLayout<Config>;
  using Operand = typename Config::Operand;
  using Value = typename Accumulator<Operand>::type;
  static constexpr Estimator estimator = Config::estimator;
  static constexpr int m_tiles = Config::rows_per_warp / 16;
  static constexpr int k_steps = Layout::row_bytes / 32;
  // Accumulator tiles of eight keys per pass over a 32-key sub-block: with many rows two passes, to hold fewer
  // registers.
  static constexpr int key_tiles = m_tiles > 2 ? 2 : 4;
  static constexpr int q_registers = m_tiles * k_steps * 4;
  // Sub-blocks in flight at once, as many as fit beside the fragments of Q.
  static constexpr int unrolled = q_registers >= 96 ? 1 : (q_registers >= 48 ? 2 : 4);

public:
  // Loads the fragments of Q and θ of rows [first_row, first_row + rows_per_warp). Rows past q_len repeat the last row,
  // which adds nothing to an "any row" decision.
  SALE_DEVICE WarpEstimate(const SelectArgs &args, const Sequence<Config> &sequence, s32 first_row, s32 head) {
    const s32 lane = static_cast<s32>(lane_index());
    const s64 head_row = sequence.query_row(args, args.num_q_heads, head);
    const u8 *q = args.q_codes + head_row * Layout::row_bytes;
    s64 row_stride = Layout::row_bytes;
    if constexpr (estimator == Estimator::exact) {
      q = static_cast<const u8 *>(args.q.data) + 2 * sequence.query_element(args, args.q, head);
      row_stride = 2 * args.q.stride_token;
    }
    f32 largest_inverse = 0.0F;
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const s32 row = imin(first_row + m * 16 + r * 8 + lane / 4, sequence.q_len - 1);
        theta_[m][r] = load_global_f32(args.theta + head_row + row);
        if constexpr (estimator == Estimator::int4) {
          inverse_[m][r] = div_rn(1.0F, load_global_f32(args.q_scale + head_row + row));
          largest_inverse = max_nan(largest_inverse, inverse_[m][r]);
        }
#pragma unroll
        for (int k = 0; k < k_steps; ++k) {
          const u8 *source = q + row * row_stride + s64{32} * k + lane % 4 * s64{4};
          q_[m][k][r] = load_global_4(source);
          q_[m][k][r + 2] = load_global_4(source + 16);
        }
      }
    }
    largest_inverse_ = largest_inverse;
  }

  // Bit b of the result: this lane saw an estimate above θ in the step's key block b.
  SALE_DEVICE u32 step(u32 stage) const {
    u32 bits = 0;
#pragma unroll unrolled
    for (int sub = 0; sub < Layout::sub_blocks; ++sub) {
      if (exceeds(stage, sub)) {
        bits |= 1U << (sub * 32 / Config::block_k);
      }
    }
    return bits;
  }

private:
  // The K scale of the lane's keys is the same in all passes over a sub-block, so the maximum may run through them.
  struct RowMax {
    Value best[m_tiles][2];
  };

  SALE_DEVICE bool exceeds(u32 stage, int sub) const {
    const u32 lane = lane_index();
    const u32 scales = stage + Layout::tile_bytes;
    if constexpr (estimator == Estimator::exact) {
      const RowMax max = estimate(stage, sub, [](int, int, int) { return 0.0F; });
      return any_row([&](int m, int r) { return max.best[m][r]; });
    } else if constexpr (estimator == Estimator::int8) {
      const f32 scale = load_shared_f32(scales + static_cast<u32>(sub) * 4);
      const RowMax max = estimate(stage, sub, [](int, int, int) { return 0; });
      return any_row([&](int m, int r) { return mul_rn(IntegerFrame::small_to_float(max.best[m][r]), scale); });
    } else {
      const f32 scale = load_shared_f32(scales + static_cast<u32>(sub) * 16 + lane % 4 * 4);
      f32 bias[4][2];
      f32 largest_bias = 0.0F;
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        load_shared_f32x2(bias[n], scales + Layout::scale_bytes + static_cast<u32>(sub) * 128 + n * 32 + lane % 4 * 8);
        largest_bias = max_nan(largest_bias, max_nan(abs_f32(bias[n][0]), abs_f32(bias[n][1])));
      }
      const bool narrow = mul_rn(largest_bias, largest_inverse_) <= IntegerFrame::narrow_limit; // false for NaN
      bool keep = false;
      if (warp_ballot(!narrow) == 0) {
        const RowMax max = estimate(stage, sub, [&](int m, int n, int i) {
          return IntegerFrame::round(mul_rn(bias[n][i % 2], inverse_[m][i / 2]));
        });
        keep = any_row([&](int m, int r) { return mul_rn(IntegerFrame::from_carried(max.best[m][r]), scale); });
      } else {
        const RowMax max = estimate(stage, sub, [&](int m, int n, int i) {
          return WideInteger::round(mul_rn(bias[n][i % 2], inverse_[m][i / 2]));
        });
#pragma unroll
        for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
          for (int r = 0; r < 2; ++r) {
            const s32 best = max.best[m][r];
            keep |= WideInteger::exists(best) && !(mul_rn(to_float_rn(best), scale) <= theta_[m][r]);
          }
        }
      }
      return keep && scale != 0.0F;
    }
  }

  // The maximum over the lane's eight keys of start(m, n, i) + Q · K, for each of its rows; (m, n, i) is element i of
  // accumulator tile m, n.
  template <class Start>
  SALE_DEVICE RowMax estimate(u32 stage, int sub, const Start &start) const {
    const u32 lane = lane_index();
    RowMax max;
#pragma unroll
    for (int pass = 0; pass < 4 / key_tiles; ++pass) {
      Value d[m_tiles][key_tiles][4];
#pragma unroll
      for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
        for (int n = 0; n < key_tiles; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            d[m][n][i] = start(m, pass * key_tiles + n, i);
          }
        }
      }
#pragma unroll
      for (int k = 0; k < k_steps; ++k) {
#pragma unroll
        for (int n = 0; n < key_tiles / 2; ++n) {
          // Two n8 tiles: matrices 0, 1 are the 16-byte halves of keys 0-7, matrices 2, 3 those of keys 8-15.
          const u32 key = static_cast<u32>(sub) * 32 + (pass * key_tiles + n * 2) * 8 + lane % 8 + lane / 16 * 8;
          u32 b[4];
          ldmatrix_x4(b, stage + Swizzle<Layout::row_bytes>::offset(key, k * 2 + lane / 8 % 2));
#pragma unroll
          for (int m = 0; m < m_tiles; ++m) {
            mma(Operand{}, d[m][2 * n], q_[m][k], b[0], b[1]);
            mma(Operand{}, d[m][2 * n + 1], q_[m][k], b[2], b[3]);
          }
        }
      }
#pragma unroll
      for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          Value best = larger(d[m][0][2 * r], d[m][0][2 * r + 1]);
#pragma unroll
          for (int n = 1; n < key_tiles; ++n) {
            best = larger(larger(best, d[m][n][2 * r]), d[m][n][2 * r + 1]);
          }
          max.best[m][r] = pass == 0 ? best : larger(max.best[m][r], best);
        }
      }
    }
    return max;
  }
  static SALE_DEVICE s32 larger(s32 a, s32 b) { return imax(a, b); }
  static SALE_DEVICE f32 larger(f32 a, f32 b) { return max_nan(a, b); }

  // Whether some row's estimate is not at most its θ; so a NaN estimate keeps the block.
  template <class Estimate>
  SALE_DEVICE bool any_row(const Estimate &estimate) const {
    bool keep = false;
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        keep |= !(estimate(m, r) <= theta_[m][r]);
      }
    }
    return keep;
  }

  u32 q_[m_tiles][k_steps][4];
  f32 theta_[m_tiles][2];
  f32 inverse_[m_tiles][2]; // int4: 1 / scale of the row
  f32 largest_inverse_;
};
