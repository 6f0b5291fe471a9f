// SPDX-License-Identifier: Apache-2.0
// Codes, scales and θ of the query rows of one CTA (docs/numerics.md, sections 5 and 6). Eight lanes take the rows r
// and r + 8 of a 16-row slab, which share their int4 scale.
#pragma once

#include "common/codes.cuh"
#include "common/eighth_row.cuh"
#include "common/estimator.cuh"
#include "common/swizzle.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"

template <class Config>
struct QueryCodes {
  using Row = EighthRow<Config::head_dim>;
  using Code = Codes<Config>;

  Row mean_key;
  Row mean_query; // int4
  f32 shift_logits;
  // Of the CTA's first row:
  f32 *threshold;
  f32 *theta;
  f32 *scale;
  u8 *codes;

  // Writes `rows` rows, a multiple of 64; those from `existing` on are padding. q_shared holds the rows of Q,
  // thresholds their T.
  SALE_DEVICE void write(u32 q_shared, u32 thresholds, s32 rows, s32 existing) const {
    static_assert(32 % (Config::warps * 4) == 0, "whole warps take part in every round");
    for (s32 pair = static_cast<s32>(thread_index() / 8); pair < rows / 2; pair += Config::threads / 8) {
      const s32 row[2] = {pair / 8 * 16 + pair % 8, pair / 8 * 16 + pair % 8 + 8};
      Row values[2];
      f32 amax[2];
      f32 dot[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        values[r].clear();
        if (row[r] < existing) {
          load(values[r], q_shared, static_cast<u32>(row[r]));
        }
        dot[r] = canonical_dot(values[r], mean_key);
        if constexpr (Config::estimator == Estimator::int4) {
          if (row[r] < existing) {
            values[r].subtract(mean_query);
          }
        }
        amax[r] = eighth_row_max(values[r].lane_absolute_max());
      }
      if constexpr (Config::estimator == Estimator::int4) {
        amax[0] = max_nan(amax[0], amax[1]);
        amax[1] = amax[0];
      }
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        Code::store(codes + static_cast<s64>(row[r]) * Config::code_row_bytes, values[r], amax[r]);
        if (thread_index() % 8 == 0) {
          f32 t = infinity();
          f32 row_theta = infinity();
          f32 row_scale = 0.0F;
          if (row[r] < existing) {
            t = load_shared_f32(thresholds + static_cast<u32>(row[r]) * 4);
            row_scale = Code::scale(amax[r]);
            row_theta = in_frame(sub_rn(sub_rn(t, dot[r]), shift_logits), row_scale);
          }
          store_global_f32(threshold + row[r], t);
          store_global_f32(theta + row[r], row_theta);
          store_global_f32(scale + row[r], row_scale);
        }
      }
    }
  }

private:
  static SALE_DEVICE void load(Row &values, u32 q_shared, u32 row) {
#pragma unroll
    for (int i = 0; i < Row::per_lane; ++i) {
      if (Row::has(i)) {
        values.template set<typename Config::Element>(
            i, load_shared_16(q_shared + Swizzle<Config::head_dim * 2>::offset(row, Row::chunk(i))));
      }
    }
  }

  // θ of a row from n, its threshold less the shifts, and its scale.
  static SALE_DEVICE f32 in_frame(f32 n, f32 row_scale) {
    if (row_scale != 0.0F) {
      return div_rn(n, row_scale);
    }
    if constexpr (Config::estimator == Estimator::int8) {
      return n < 0.0F ? -infinity() : (n >= 0.0F ? infinity() : n); // NaN stays NaN
    } else {
      return infinity();
    }
  }
};
