// SPDX-License-Identifier: Apache-2.0
// θ of query rows whose estimates are exact (docs/numerics.md, section 6).
#pragma once

#include "args/prepare_args.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "prepare/query_rows.cuh"

struct ExactQueries {
  static constexpr int code_row_bytes = 0;
  static constexpr int metadata_words = 0; // of a row
  static constexpr int rows_at_once = 8;   // of a warp

  template <class Sequence>
  SALE_DEVICE ExactQueries(const PrepareArgs & /*args*/, const Sequence & /*sequence*/, s32 /*head*/) {}

  // Eight lanes take two rows, as where there are codes.
  SALE_DEVICE void write(const QueryRows &rows, s32 position) const {
    const s32 row[2] = {QueryRows::row_of(position), QueryRows::row_of(position) + 8};
    const u32 lane = thread_index() % 8;
    if (lane < 2) {
      const s32 own = lane == 0 ? row[0] : row[1];
      const f32 t = rows.threshold_of(own);
      store_global_f32(rows.threshold + own, t);
      store_global_f32(rows.theta + own, rows.exists(own) ? sub_rn(t, rows.shift_logits) : infinity());
    }
  }
};
