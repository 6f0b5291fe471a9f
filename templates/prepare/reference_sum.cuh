// SPDX-License-Identifier: Apache-2.0
// The running maximum and sum of exponentials of one warp's query rows over the reference keys, and T from them
// (docs/numerics.md, section 3).
#pragma once

#include "common/scores.cuh"
#include "device/element.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

template <class Config>
class ReferenceSum {
  using Element = typename Config::Element;
  static constexpr int m_tiles = Config::rows_per_warp / 16;
  static constexpr int key_tiles = Config::keys_per_step / 8;

public:
  // q_shared: the warp's rows of Q.
  SALE_DEVICE ReferenceSum(u32 q_shared, f32 softmax_scale)
      : q_shared_(q_shared), softmax_scale_(softmax_scale), scale_log2_(softmax_scale * log2_of_e()) {
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        max_[m][r] = -infinity();
        sum_[m][r] = 0.0F;
      }
    }
  }

  // One tile of keys: keys.key(first), keys.key(first + 1), ..; row_position is the key position of the warp's first
  // row. A lane holds of each 16x8 tile rows lane/4 and lane/4 + 8, columns 2(lane%4) and 2(lane%4) + 1.
  template <class Keys>
  SALE_DEVICE void step(u32 k_shared, const Keys &keys, s32 first, s32 row_position) {
    f32 scores[m_tiles][key_tiles][4];
    multiply_queries_and_keys<Element, Config::head_dim>(scores, q_shared_, k_shared);
    const s32 lane = static_cast<s32>(lane_index());
#pragma unroll
    for (int n = 0; n < key_tiles; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const s32 key = keys.key(first + n * 8 + lane % 4 * 2 + c);
#pragma unroll
        for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
          for (int r = 0; r < 2; ++r) {
            if (key > row_position + m * 16 + r * 8 + lane / 4) {
              scores[m][n][2 * r + c] = -infinity();
            }
          }
        }
      }
    }
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        add(max_[m][r], sum_[m][r], scores[m], r);
      }
    }
  }

  // Writes T of the warp's rows to shared memory.
  SALE_DEVICE void finish(u32 thresholds, f32 tau) {
    const u32 lane = lane_index();
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        // The four lanes of a row kept their own maximum and sum.
        f32 highest = max_f32(max_[m][r], shuffle_xor(max_[m][r], 1));
        highest = max_f32(highest, shuffle_xor(highest, 2));
        f32 sum = sum_[m][r] * exp2_approx((max_[m][r] - finite(highest)) * scale_log2_);
        sum += shuffle_xor(sum, 1);
        sum += shuffle_xor(sum, 2);
        const f32 nats = log2_approx(tau * sum) * ln_of_2();
        const f32 threshold = tau == 0.0F ? -infinity() : highest + div_rn(nats, softmax_scale_);
        if (lane % 4 == 0) {
          store_shared_f32(thresholds + (m * 16 + r * 8 + lane / 4) * 4, threshold);
        }
      }
    }
  }

private:
  // While no key has been seen the maximum is -inf; any finite base then keeps exp2(-inf - base) = 0 free of NaN.
  static SALE_DEVICE f32 finite(f32 highest) { return highest == -infinity() ? 0.0F : highest; }

  // Adds a lane's scores of row half r to its maximum and sum. A NaN score leaves the maximum and makes the sum NaN.
  SALE_DEVICE void add(f32 &max, f32 &sum, const f32 (&scores)[key_tiles][4], int r) const {
    f32 highest = max;
#pragma unroll
    for (int n = 0; n < key_tiles; ++n) {
      highest = max_f32(highest, max_f32(scores[n][2 * r], scores[n][2 * r + 1]));
    }
    const f32 base = finite(highest);
    sum *= exp2_approx((max - base) * scale_log2_);
#pragma unroll
    for (int n = 0; n < key_tiles; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        sum += exp2_approx((scores[n][2 * r + c] - base) * scale_log2_);
      }
    }
    max = highest;
  }

  u32 q_shared_;
  f32 softmax_scale_;
  f32 scale_log2_;
  f32 max_[m_tiles][2];
  f32 sum_[m_tiles][2];
};
