// SPDX-License-Identifier: Apache-2.0
// The running maximum and sum of exponentials of one warp's query rows over the reference keys, and T from them
// (docs/numerics.md, section 3).
#pragma once

#include "common/scores.cuh"
#include "common/seen_keys.cuh"
#include "common/softcap.cuh"
#include "common/swizzle.cuh"
#include "device/element.cuh"
#include "device/ldmatrix.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/mma.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

// Of a part of a context: ln(tau * sum of exp) of a warp's rows, in nats, as given for the whole and as found. Both may
// be null.
struct PartThresholds {
  const f32 *in;
  f32 *out;
  s32 existing; // rows

  // What counts for row `row`; `own`: what was found.
  SALE_DEVICE f32 exchange(f32 own, u32 row, bool valid) const {
    if (!valid || static_cast<s32>(row) >= existing) {
      return own;
    }
    const f32 nats = in != nullptr ? load_global_f32(in + row) : own;
    if (out != nullptr) {
      store_global_f32(out + row, nats);
    }
    return nats;
  }
};

template <class Config>
class ReferenceSum {
  using Element = typename Config::Element;
  static constexpr int m_tiles = Config::rows_per_warp / 16;
  static constexpr int key_tiles = Config::keys_per_step / 8;
  static constexpr int k_steps = Config::head_dim / 16;
  static constexpr bool holds_queries = m_tiles * k_steps <= 16; // as fragments, in 64 registers at most

public:
  // q_shared: the warp's rows of Q.
  SALE_DEVICE ReferenceSum(u32 q_shared, f32 softmax_scale, f32 softcap)
      : q_shared_(q_shared), scale_(score_scale<Config>(softcap, softmax_scale)), scale_log2_(scale_ * log2_of_e()) {
    if constexpr (Config::softcap) {
      cap_factor_ = softcap_factor(softcap, softmax_scale);
    }
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        max_[m][r] = -infinity();
        sum_[m][r] = 0.0F;
      }
    }
  }

  // Once Q has landed in shared memory.
  SALE_DEVICE void load_queries() {
    if constexpr (holds_queries) {
#pragma unroll
      for (int k = 0; k < k_steps; ++k) {
        load_queries(queries_[k], k);
      }
    }
  }

  // One tile of keys: first_key, first_key + 1, ..; seen: what the warp's rows see.
  SALE_DEVICE void step(u32 k_shared, s32 first_key, const SeenKeys<Config, Config::rows_per_warp> &seen) {
    if (first_key > seen.last() || seen.begin_after(first_key + Config::keys_per_step - 1)) {
      return;
    }
    f32 scores[m_tiles][key_tiles][4];
    multiply(scores, k_shared);
    if constexpr (Config::softcap) {
      cap_scores(scores, cap_factor_);
    }
    if (!seen.all(first_key, Config::keys_per_step)) {
      hide_others(scores, first_key, seen);
    }
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        add(max_[m][r], sum_[m][r], scores[m], r);
      }
    }
  }

  // Writes T of the warp's rows to shared memory. sink_logit: of the rows' head; part: see there.
  SALE_DEVICE void finish(u32 thresholds, f32 tau, const f32 *sink_logit, f32 softmax_scale,
                          const PartThresholds &part) {
    const u32 lane = lane_index();
    f32 own_max = 0.0F;
    f32 own_sum = 0.0F;
#pragma unroll
    for (int i = 0; i < 2 * m_tiles; ++i) {
      // The four lanes of a row kept their own maximum and sum; of their rows each lane finishes one.
      f32 max = max_[i / 2][i % 2];
      f32 sum = sum_[i / 2][i % 2];
      f32 highest = max_f32(max, shuffle_xor(max, 1));
      highest = max_f32(highest, shuffle_xor(highest, 2));
      sum *= exp2_approx((max - finite(highest)) * scale_log2_);
      sum += shuffle_xor(sum, 1);
      sum += shuffle_xor(sum, 2);
      own_max = lane % 4 == i ? highest : own_max;
      own_sum = lane % 4 == i ? sum : own_sum;
    }
    if constexpr (Config::sink_logits) {
      const f32 sink = div_rn(load_global_f32(sink_logit), scale_);
      const f32 highest = max_f32(own_max, sink);
      own_sum *= exp2_approx((own_max - finite(highest)) * scale_log2_);
      own_sum += exp2_approx((sink - finite(highest)) * scale_log2_);
      own_max = highest;
    }
    const f32 nats = log2_approx(tau * own_sum) * ln_of_2();
    f32 threshold = tau == 0.0F ? -infinity() : own_max + div_rn(nats, scale_);
    if constexpr (Config::parts) {
      const f32 own = tau == 0.0F ? -infinity() : mul_rn(own_max, scale_) + nats;
      threshold = div_rn(part.exchange(own, lane % 4 * 8 + lane / 4, lane % 4 < 2 * m_tiles), scale_);
    }
    if constexpr (Config::softcap) {
      threshold = uncapped(2.0F * threshold, 0.5F * softcap_limit(scale_, softmax_scale));
    }
    if (lane % 4 < 2 * m_tiles) {
      store_shared_f32(thresholds + (lane % 4 * 8 + lane / 4) * 4, threshold);
    }
  }

private:
  SALE_DEVICE void load_queries(u32 (&a)[m_tiles][4], int k) const {
    const typename Swizzle<Config::head_dim * 2>::Lane lane(q_shared_, lane_index() % 16, lane_index() / 16);
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) {
      ldmatrix_x4(a[m], lane.at(m * 16, k * 2));
    }
  }

  SALE_DEVICE void multiply(f32 (&scores)[m_tiles][key_tiles][4], u32 k_shared) const {
    if constexpr (!holds_queries) {
      multiply_queries_and_keys<Element, Config::head_dim>(scores, q_shared_, k_shared);
      return;
    }
    // Two n8 tiles at once: matrices 0, 1 are the 16-byte halves of keys 0-7, matrices 2, 3 those of keys 8-15.
    const u32 lane = lane_index();
    const typename Swizzle<Config::head_dim * 2>::Lane k_lane(k_shared, lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
      for (int n = 0; n < key_tiles; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          scores[m][n][i] = 0.0F;
        }
      }
    }
#pragma unroll
    for (int k = 0; k < k_steps; ++k) {
#pragma unroll
      for (int n = 0; n < key_tiles; n += 2) {
        u32 b[4];
        ldmatrix_x4(b, k_lane.at(n * 8, k * 2));
#pragma unroll
        for (int m = 0; m < m_tiles; ++m) {
          mma(Element{}, scores[m][n], queries_[k][m], b[0], b[1]);
          mma(Element{}, scores[m][n + 1], queries_[k][m], b[2], b[3]);
        }
      }
    }
  }

  // Scores of keys that a row does not see become -inf.
  static SALE_DEVICE void hide_others(f32 (&scores)[m_tiles][key_tiles][4], s32 first_key,
                                      const SeenKeys<Config, Config::rows_per_warp> &seen) {
    const s32 first_ahead = seen.ahead(first_key);
    const s32 lane = static_cast<s32>(lane_index());
    const s32 ahead = first_ahead + lane % 4 * 2 - seen.further(lane / 4);
#pragma unroll
    for (int n = 0; n < key_tiles; ++n) {
#pragma unroll
      for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (seen.hides(ahead, m, n, i)) {
            scores[m][n][i] = -infinity();
          }
        }
      }
    }
  }

  // While no key has been seen the maximum is -inf; any finite base then keeps exp2(-inf - base) = 0 free of NaN.
  static SALE_DEVICE f32 finite(f32 highest) { return highest == -infinity() ? 0.0F : highest; }

  // Adds a lane's scores of row half r to its maximum and sum. A NaN score leaves the maximum and makes the sum NaN.
  SALE_DEVICE void add(f32 &max, f32 &sum, const f32 (&scores)[key_tiles][4], int r) const {
    f32 highest = max;
#pragma unroll
    for (int n = 0; n < key_tiles; ++n) {
      highest = max_f32(highest, max_f32(scores[n][2 * r], scores[n][2 * r + 1]));
    }
    const f32 base = finite(highest) * scale_log2_;
    sum *= exp2_approx(fma_rn(max, scale_log2_, -base));
#pragma unroll
    for (int n = 0; n < key_tiles; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        sum += exp2_approx(fma_rn(scores[n][2 * r + c], scale_log2_, -base));
      }
    }
    max = highest;
  }

  u32 q_shared_;
  u32 queries_[holds_queries ? k_steps : 1][m_tiles][4];
  f32 scale_; // from the units of the scores to nats
  f32 scale_log2_;
  f32 cap_factor_; // softcap
  f32 max_[m_tiles][2];
  f32 sum_[m_tiles][2];
};
