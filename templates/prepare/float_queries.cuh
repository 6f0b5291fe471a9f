// SPDX-License-Identifier: Apache-2.0
// e4m3 codes, power-of-two scales and θ of query rows (docs/numerics.md, section 12). Eight lanes take the rows r and
// r + 8 of a 16-row slab, whose metadata of 2:4 sparsity lie side by side.
#pragma once

#include "args/prepare_args.cuh"
#include "common/codes.cuh"
#include "common/eighth_row.cuh"
#include "common/project.cuh"
#include "common/sequence.cuh"
#include "common/swizzle.cuh"
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
  // Of a warp: as many as have room for their sums of the projection.
  static constexpr int rows_at_once = Config::projected && Row::per_lane == 1 ? 16 : 8;

  SALE_DEVICE FloatQueries(const PrepareArgs &args, const Sequence<Config> &sequence, s32 head) {
    const s64 batch = sequence.batch;
    const s64 kv_head = head / Config::gqa;
    mean_key_.load(args.kbar + sequence.kbar_element(args, args.num_q_heads / Config::gqa, head / Config::gqa));
    if constexpr (Config::gathered) {
      channels_.load(args.channels + batch * args.channels_stride + kv_head * Config::estimate_dim);
    }
    if constexpr (Config::projected) {
      projection_ = args.projection + kv_head * 2 * Config::estimate_dim * Config::head_dim;
    }
    if constexpr (Config::pruned) {
      weights_ = args.weights + (batch * (args.num_q_heads / Config::gqa) + kv_head) * Config::estimate_dim;
    }
  }

  SALE_DEVICE void write(const QueryRows &rows, s32 position) const {
    if constexpr (Config::projected) {
      static_assert(Projection<Config>::shared_bytes <= Config::stages * Config::keys_per_step * Config::head_dim * 2,
                    "the weights lie where the keys were");
      static_assert(Config::gqa * Config::block_q % (Config::rows_per_warp * Config::warps) == 0,
                    "every warp has a head and comes here");
      constexpr int count = rows_at_once / 4;
      Row mixed[count];
      Projection<Config>::apply(mixed, projection_, rows.weights, StagedQueries<count>{rows.q, position});
#pragma unroll
      for (int pair = 0; pair < count / 2; ++pair) {
        write_two(rows, QueryRows::row_of(position + 8 * pair), mixed + 2 * pair);
      }
    } else {
      write_two(rows, QueryRows::row_of(position), nullptr);
    }
  }

  // Of a slab of 16 rows of zeros.
  static SALE_DEVICE void store_padding_metadata(u32 *metadata, s32 row) {
    store_zero_metadata<Config::estimate_dim>(metadata, row);
  }

private:
  // `first` and the row 8 behind it; mixed: both after the projection.
  SALE_DEVICE void write_two(const QueryRows &rows, s32 first, const Row *mixed) const {
    const s32 row[2] = {first, first + 8};
    f32 n2[2];
    f32 dot[2];
    u32 metadata[2][Row::per_lane];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      EighthRow<Config::head_dim> whole;
      whole.template load_shared<Element>(rows.q, static_cast<u32>(row[r]));
      dot[r] = canonical_dot(whole, mean_key_);
      if constexpr (Config::gathered) {
        Row chosen;
        chosen.template gather_shared<Element, Config::head_dim>(channels_, rows.q, static_cast<u32>(row[r]));
        n2[r] = store_codes(rows, row[r], chosen, metadata[r]);
      } else if constexpr (Config::projected) {
        n2[r] = store_codes(rows, row[r], mixed[r], metadata[r]);
      } else {
        n2[r] = store_codes(rows, row[r], whole, metadata[r]);
      }
    }
    if constexpr (Config::pruned) {
      store_metadata<Config::estimate_dim>(rows.metadata, first, metadata);
    }
    const u32 lane = thread_index() % 8;
    if (lane < 2) { // one for each row
      write_frame(rows, lane == 0 ? row[0] : row[1], lane == 0 ? n2[0] : n2[1], lane == 0 ? dot[0] : dot[1]);
    }
  }

  // Returns n2.
  SALE_DEVICE f32 store_codes(const QueryRows &rows, s32 row, const Row &values, u32 (&metadata)[Row::per_lane]) const {
    u8 *const codes = rows.codes + static_cast<s64>(row) * code_row_bytes;
    if constexpr (Config::pruned) {
      Row weights; // again and again, rather than keep them in registers
      weights.load(weights_);
      const PrunedRow<Config::estimate_dim> pruned(values, weights, metadata);
      const f32 n2 = pruned.squared_norm();
      pruned.store_codes(codes, FloatScale::power(FloatScale::of_query(n2)));
      return n2;
    } else {
      const f32 n2 = canonical_dot(values, values);
      store_float_codes(codes, values, FloatScale::power(FloatScale::of_query(n2)));
      return n2;
    }
  }

  static SALE_DEVICE void write_frame(const QueryRows &rows, s32 row, f32 n2, f32 dot) {
    const s32 exponent = FloatScale::of_query(n2);
    const f32 t = rows.threshold_of(row);
    const f32 theta = mul_rn(rows.offset(t, dot), FloatScale::power(exponent));
    const f32 safe_theta = FloatScale::is_finite(n2) ? theta : n2 - n2; // NaN
    store_global_f32(rows.threshold + row, t);
    store_global_f32(rows.theta + row, rows.exists(row) ? safe_theta : infinity());
    store_global_f32(rows.scale + row, rows.exists(row) ? FloatScale::power(-exponent) : 0.0F);
  }

  // Channels d and d + 1 of the rows that write(.., position) takes.
  template <int count>
  struct StagedQueries {
    u32 tile;
    s32 position;
    SALE_DEVICE void operator()(f32 (&x)[count][2], u32 d) const {
#pragma unroll
      for (int r = 0; r < count; ++r) {
        const u32 row = static_cast<u32>(QueryRows::row_of(position + r / 2 * 8) + r % 2 * 8);
        const u32 pair = load_shared_4(tile + Swizzle<Config::head_dim * 2>::offset(row, d / 8) + d % 8 * 2);
        x[r][0] = Element::low(pair);
        x[r][1] = Element::high(pair);
      }
    }
  };

  EighthRow<Config::head_dim> mean_key_;
  EighthChannels<Config::estimate_dim> channels_; // gathered
  const f32 *projection_;                         // projected
  const f32 *weights_;                            // pruned
};
