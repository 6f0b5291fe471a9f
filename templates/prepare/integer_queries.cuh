// SPDX-License-Identifier: Apache-2.0
// Integer codes, scales and θ of query rows (docs/numerics.md, sections 5 and 6). Eight lanes take the rows r and r + 8
// of a 16-row slab, which share their int4 scale.
#pragma once

#include "args/prepare_args.cuh"
#include "common/codes.cuh"
#include "common/eighth_row.cuh"
#include "common/estimator.cuh"
#include "common/sequence.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "prepare/query_rows.cuh"

template <class Config>
class IntegerQueries {
  using Row = EighthRow<Config::head_dim>;
  using Code = Codes<Config>;

public:
  static constexpr int code_row_bytes = Config::code_row_bytes;
  static constexpr int metadata_words = 0; // of a row
  static constexpr int rows_at_once = 8;   // of a warp

  SALE_DEVICE IntegerQueries(const PrepareArgs &args, const Sequence<Config> &sequence, s32 head) {
    if constexpr (Config::ragged) {
      mean_key_.load(args.kbar + sequence.kbar_element(args, args.num_q_heads / Config::gqa, head / Config::gqa));
    } else {
      mean_key_.load(args.kbar + (sequence.batch * args.num_q_heads + head) / Config::gqa * Config::head_dim);
    }
    if constexpr (Config::estimator == Estimator::int4) {
      mean_query_.load(args.qbar + (sequence.batch * args.num_q_heads + head) * Config::head_dim);
    }
  }

  SALE_DEVICE void write(const QueryRows &rows, s32 position) const {
    const s32 row[2] = {QueryRows::row_of(position), QueryRows::row_of(position) + 8};
    Row values[2];
    f32 amax[2];
    f32 dot[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      values[r].template load_shared<typename Config::Element>(rows.q, static_cast<u32>(row[r]));
      dot[r] = canonical_dot(values[r], mean_key_);
      if constexpr (Config::estimator == Estimator::int4) {
        if (rows.exists(row[r])) {
          values[r].subtract(mean_query_);
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
      Code::store(rows.codes + static_cast<s64>(row[r]) * Config::code_row_bytes, values[r], amax[r]);
    }
    const u32 lane = thread_index() % 8;
    if (lane < 2) { // one for each row
      const s32 own = lane == 0 ? row[0] : row[1];
      const f32 t = rows.threshold_of(own);
      const f32 scale = Code::scale(lane == 0 ? amax[0] : amax[1]);
      const f32 theta = in_frame(rows.offset(t, lane == 0 ? dot[0] : dot[1]), scale);
      store_global_f32(rows.threshold + own, t);
      store_global_f32(rows.theta + own, rows.exists(own) ? theta : infinity());
      store_global_f32(rows.scale + own, rows.exists(own) ? scale : 0.0F);
    }
  }

private:
  // θ of a row from n, its threshold less the shifts, and its scale.
  static SALE_DEVICE f32 in_frame(f32 n, f32 scale) {
    if (scale != 0.0F) {
      return div_rn(n, scale);
    }
    if constexpr (Config::estimator == Estimator::int8) {
      return n < 0.0F ? -infinity() : (n >= 0.0F ? infinity() : n); // NaN stays NaN
    } else {
      return infinity();
    }
  }

  Row mean_key_;
  Row mean_query_; // int4
};
