// The estimates of one warp: its query rows against a tile of keys, reduced at once to one bit per key block.
//
// A lane holds of each 16x8 accumulator tile rows lane/4 and lane/4 + 8 and columns 2(lane%4), 2(lane%4) + 1. Over the
// four tiles of a 32-key sub-block these are eight keys per row that share one K scale: all keys of an int8 sub-block
// do, and the columns are exactly int4's group t = lane%4. So a row costs a lane one maximum over eight values, one
// multiplication and one comparison, and lanes meet only when a mask word is complete.
#pragma once

#include "args/select_args.cuh"
#include "common/estimator.cuh"
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
  static constexpr int key_tiles = 4;

public:
  // Loads the fragments of Q and θ of rows [first_row, first_row + rows_per_warp). Rows past q_len repeat the last row,
  // which adds nothing to an "any row" decision.
  SALE_DEVICE WarpEstimate(const SelectArgs &args, s32 first_row, s32 head, s64 batch) {
    const s32 lane = static_cast<s32>(lane_index());
    const s64 query_head = batch * args.num_q_heads + head;
    const s64 q_padded = ceil_div(args.q_len, 128) * static_cast<s64>(128);
    const u8 *q = args.q_codes + query_head * q_padded * Layout::row_bytes;
    s64 row_stride = Layout::row_bytes;
    if constexpr (estimator == Estimator::exact) {
      q = static_cast<const u8 *>(args.q.data) + 2 * (batch * args.q.stride_batch + head * args.q.stride_head);
      row_stride = 2 * args.q.stride_token;
    }
    f32 largest_inverse = 0.0F;
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const s32 row = imin(first_row + m * 16 + r * 8 + lane / 4, args.q_len - 1);
        theta_[m][r] = load_global_f32(args.theta + query_head * q_padded + row);
        if constexpr (estimator == Estimator::int4) {
          inverse_[m][r] = div_rn(1.0F, load_global_f32(args.q_scale + query_head * q_padded + row));
          largest_inverse = max_nan(largest_inverse, inverse_[m][r]);
        }
#pragma unroll
        for (int k = 0; k < k_steps; ++k) {
          const u8 *source = q + row * row_stride + k * 32 + lane % 4 * 4;
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
#pragma unroll
    for (int sub = 0; sub < Layout::sub_blocks; ++sub) {
      if (exceeds(stage, sub)) {
        bits |= 1U << (sub * 32 / Config::block_k);
      }
    }
    return bits;
  }

private:
  SALE_DEVICE bool exceeds(u32 stage, int sub) const {
    const u32 lane = lane_index();
    const u32 scales = stage + Layout::tile_bytes;
    Value d[m_tiles][key_tiles][4];
    if constexpr (estimator == Estimator::exact) {
      fill(d, 0.0F);
      multiply(d, stage, sub);
      return any_row([&](int m, int r) { return row_max(d[m], r); });
    } else if constexpr (estimator == Estimator::int8) {
      const f32 scale = load_shared_f32(scales + static_cast<u32>(sub) * 4);
      fill(d, IntegerFrame::zero);
      multiply(d, stage, sub);
      return any_row([&](int m, int r) { return mul_rn(IntegerFrame::value(row_max(d[m], r)), scale); });
    } else {
      const f32 scale = load_shared_f32(scales + static_cast<u32>(sub) * 16 + lane % 4 * 4);
      f32 bias[key_tiles][2];
      f32 largest_bias = 0.0F;
#pragma unroll
      for (int n = 0; n < key_tiles; ++n) {
        load_shared_f32x2(bias[n], scales + Layout::scale_bytes + static_cast<u32>(sub) * 128 + n * 32 + lane % 4 * 8);
        largest_bias = max_nan(largest_bias, max_nan(abs_f32(bias[n][0]), abs_f32(bias[n][1])));
      }
      const bool narrow = mul_rn(largest_bias, largest_inverse_) <= IntegerFrame::narrow_limit; // false for NaN
      if (warp_ballot(!narrow) == 0) {
        add_bias(d, bias, [](f32 x) { return IntegerFrame::round(x); });
        multiply(d, stage, sub);
        const bool keep = any_row([&](int m, int r) { return mul_rn(IntegerFrame::value(row_max(d[m], r)), scale); });
        return keep && scale != 0.0F;
      }
      add_bias(d, bias, [](f32 x) { return WideInteger::round(x); });
      multiply(d, stage, sub);
      bool keep = false;
#pragma unroll
      for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const s32 best = row_max(d[m], r);
          keep |= WideInteger::exists(best) && !(mul_rn(to_float_rn(best), scale) <= theta_[m][r]);
        }
      }
      return keep && scale != 0.0F;
    }
  }

  // d += the warp's rows of Q · the sub-block's keys.
  SALE_DEVICE void multiply(Value (&d)[m_tiles][key_tiles][4], u32 stage, int sub) const {
    const u32 lane = lane_index();
#pragma unroll
    for (int k = 0; k < k_steps; ++k) {
#pragma unroll
      for (int n = 0; n < key_tiles / 2; ++n) {
        // Two n8 tiles: matrices 0, 1 are the 16-byte halves of keys 0-7, matrices 2, 3 those of keys 8-15.
        u32 b[4];
        ldmatrix_x4(b,
                    stage + Swizzle<Layout::row_bytes>::offset(
                                static_cast<u32>(sub) * 32 + n * 16 + lane % 8 + lane / 16 * 8, k * 2 + lane / 8 % 2));
#pragma unroll
        for (int m = 0; m < m_tiles; ++m) {
          mma(Operand{}, d[m][2 * n], q_[m][k], b[0], b[1]);
          mma(Operand{}, d[m][2 * n + 1], q_[m][k], b[2], b[3]);
        }
      }
    }
  }

  static SALE_DEVICE void fill(Value (&d)[m_tiles][key_tiles][4], Value value) {
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
      for (int n = 0; n < key_tiles; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          d[m][n][i] = value;
        }
      }
    }
  }

  // int4: d = round(bias of the key / scale of the row).
  template <class Round>
  SALE_DEVICE void add_bias(s32 (&d)[m_tiles][key_tiles][4], const f32 (&bias)[key_tiles][2], Round round) const {
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
      for (int n = 0; n < key_tiles; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          d[m][n][i] = round(mul_rn(bias[n][i % 2], inverse_[m][i / 2]));
        }
      }
    }
  }

  // The maximum of row half r over the lane's eight keys.
  static SALE_DEVICE Value row_max(const Value (&d)[key_tiles][4], int r) {
    Value best = larger(d[0][2 * r], d[0][2 * r + 1]);
#pragma unroll
    for (int n = 1; n < key_tiles; ++n) {
      best = larger(larger(best, d[n][2 * r]), d[n][2 * r + 1]);
    }
    return best;
  }
  static SALE_DEVICE s32 larger(s32 a, s32 b) { return smax(a, b); }
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
