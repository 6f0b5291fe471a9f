// SPDX-License-Identifier: Apache-2.0
// e4m3 codes, power-of-two scales and θ of query rows (docs/numerics.md, section 12). Eight lanes take the rows r and
// r + 8 of a 16-row slab, whose metadata of 2:4 sparsity lie side by side.
#pragma once

#include "args/prepare_args.cuh"
#include "common/codes.cuh"
#include "common/eighth_row.cuh"
#include "common/project.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "prepare/prune.cuh"
#include "prepare/query_rows.cuh"

template <class Config>
class FloatQueries {
  using Element = typename Config::Element;
  using Row = EighthRow<Config::estimate_dim>;

public:
  static constexpr int code_row_bytes = Config::pruned ? Config::estimate_dim / 2 : Config::estimate_dim;
  static constexpr int metadata_words = Config::pruned ? Config::estimate_dim / 32 : 0; // of a row

  SALE_DEVICE FloatQueries(const PrepareArgs &args, s64 batch, s64 head) {
    const s64 kv_head = head / Config::gqa;
    const s64 all_kv_heads = batch * (args.num_q_heads / Config::gqa) + kv_head;
    mean_key_.load(args.kbar + all_kv_heads * Config::head_dim);
    if constexpr (Config::gathered) {
      channels_.load(args.channels + batch * args.channels_stride + kv_head * Config::estimate_dim);
    }
    if constexpr (Config::projected) {
      projection_ = args.projection + kv_head * 2 * Config::estimate_dim * Config::head_dim;
    }
    if constexpr (Config::pruned) {
      weights_.load(args.weights + all_kv_heads * Config::estimate_dim);
    }
  }

  SALE_DEVICE void write(const QueryRows &rows, const s32 (&row)[2]) const {
    Row values[2];
    f32 dot[2];
    load(values, dot, rows, row);
    u32 kept[2][Row::per_lane];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if constexpr (Config::pruned) {
        prune(values[r], weights_, kept[r]);
      }
      const f32 n2 = canonical_dot(values[r], values[r]);
      const s32 exponent = FloatScale::of_query(n2);
      u8 *const codes = rows.codes + static_cast<s64>(row[r]) * code_row_bytes;
      if constexpr (Config::pruned) {
        store_pruned_codes(codes, values[r], kept[r], FloatScale::power(exponent));
      } else {
        store_float_codes(codes, values[r], FloatScale::power(exponent));
      }
      if (thread_index() % 8 == 0) {
        f32 t = infinity();
        f32 theta = infinity();
        f32 scale = 0.0F;
        if (rows.exists(row[r])) {
          t = rows.threshold_of(row[r]);
          scale = FloatScale::power(-exponent);
          theta = FloatScale::is_finite(n2) ? mul_rn(rows.offset(t, dot[r]), FloatScale::power(exponent)) : n2 - n2;
        }
        store_global_f32(rows.threshold + row[r], t);
        store_global_f32(rows.theta + row[r], theta);
        store_global_f32(rows.scale + row[r], scale);
      }
    }
    if constexpr (Config::pruned) {
      store_kept<Config::estimate_dim>(rows.metadata, row[0], kept);
    }
  }

private:
  // Channels d..d+3 of the two rows.
  struct StagedQueries {
    u32 tile;
    u32 row[2];
    SALE_DEVICE void operator()(f32 (&x)[2][4], u32 d) const {
      load_quad<Element, Config::head_dim>(x[0], tile, row[0], d);
      load_quad<Element, Config::head_dim>(x[1], tile, row[1], d);
    }
  };

  // The rows as the estimate sees them, and q·kbar of the whole rows. Zero where there is no row.
  SALE_DEVICE void load(Row (&values)[2], f32 (&dot)[2], const QueryRows &rows, const s32 (&row)[2]) const {
    if constexpr (Config::projected) {
      // The tile ends with the query block.
      project<Config, 2>(values, projection_,
                         StagedQueries{rows.q,
                                       {rows.exists(row[0]) ? static_cast<u32>(row[0]) : 0,
                                        rows.exists(row[1]) ? static_cast<u32>(row[1]) : 0}});
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      EighthRow<Config::head_dim> whole;
      whole.clear();
      if (rows.exists(row[r])) {
        whole.template load_shared<Element>(rows.q, static_cast<u32>(row[r]));
      }
      dot[r] = canonical_dot(whole, mean_key_);
      if constexpr (Config::gathered) {
        values[r].clear();
        if (rows.exists(row[r])) {
          values[r].template gather_shared<Element, Config::head_dim>(channels_, rows.q, static_cast<u32>(row[r]));
        }
      } else if constexpr (Config::projected) {
        if (!rows.exists(row[r])) {
          values[r].clear();
        }
      } else {
        values[r] = whole;
      }
    }
  }

  EighthRow<Config::head_dim> mean_key_;
  EighthChannels<Config::estimate_dim> channels_; // gathered
  const f32 *projection_;                         // projected
  Row weights_;                                   // pruned
};
