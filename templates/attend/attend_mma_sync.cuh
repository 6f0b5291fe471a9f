// SPDX-License-Identifier: Apache-2.0
// attend for the mma.sync family: flash attention over the kept blocks (docs/numerics.md, section 8).
// Each warp owns rows_per_warp query rows; K and V of one step are shared by the CTA through a cp.async pipeline. A CTA
// may span two query blocks: it loads the union of their blocks, and a warp computes only what its own block keeps.
#pragma once

#include "args/attend_args.cuh"
#include "attend/attend_tile.cuh"
#include "attend/key_walk.cuh"
#include "common/key_rows.cuh"
#include "common/load_tile.cuh"
#include "common/region.cuh"
#include "common/scores.cuh"
#include "common/seen_keys.cuh"
#include "common/sequence.cuh"
#include "common/softcap.cuh"
#include "common/swizzle.cuh"
#include "device/cp_async.cuh"
#include "device/element.cuh"
#include "device/ldmatrix.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/mma.cuh"
#include "device/shared.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

template <class Config>
struct AttendLayout {
  static constexpr int row_bytes = Config::head_dim * 2; // of Q and K
  static constexpr int v_row_bytes = Config::v_head_dim * 2;
  static_assert(v_row_bytes <= row_bytes, "the output passes through the rows of Q");
  static constexpr int rows = AttendTile<Config>::rows;
  static constexpr int q_bytes = rows * row_bytes;
  static constexpr int k_tile_bytes = Config::keys_per_step * row_bytes;
  static constexpr int stage_bytes = k_tile_bytes + Config::keys_per_step * v_row_bytes;
  static constexpr int walk_offset = q_bytes + Config::stages * stage_bytes;
  static constexpr int walk_bytes = Config::dense ? 0 : MaskWalk<Config, walk_offset>::shared_bytes;
  static constexpr int shared_bytes = walk_offset + walk_bytes;
};

// The keys of a step in one tensor, rows of `row_bytes`. Where they lie is worked out anew: it need not live in
// registers through the loop.
template <class Config, int row_bytes, class Step>
SALE_DEVICE void load_step(u32 shared, const AttendArgs &args, const TensorArg &tensor, const Step &step) {
  const AttendTile<Config> tile(args);
  const Sequence<Config> sequence(args, tile.batch);
  const KeyRows<Config> rows(args, tensor, sequence, tile.head / Config::gqa);
#pragma unroll
  for (int g = 0; g < Granule<Config>::per_step; ++g) {
    const Granule<Config> granule = step.granule(g);
    load_keys<Granule<Config>::keys, row_bytes, Config::threads>(shared + g * Granule<Config>::keys * row_bytes, rows,
                                                                 granule.key, granule.keep != 0 ? sequence.kv_len : 0);
  }
}

// One step of K, then of V.
template <class Config, class Step>
SALE_DEVICE void load_keys_and_values(u32 shared, const AttendArgs &args, const Step &step) {
  using Layout = AttendLayout<Config>;
  load_step<Config, Layout::row_bytes>(shared, args, args.k, step);
  load_step<Config, Layout::v_row_bytes>(shared + Layout::k_tile_bytes, args, args.v, step);
}

// The query rows of one warp: their fragments, running maximum and sum, and output.
template <class Config>
class WarpRows {
  using Element = typename Config::Element;
  using Layout = AttendLayout<Config>;
  using ValueRows = Swizzle<Layout::v_row_bytes>; // also of the output
  static constexpr int m_tiles = Config::rows_per_warp / 16;
  static constexpr int key_tiles = Config::keys_per_step / 8;
  static constexpr int out_tiles = Config::v_head_dim / 8;

public:
  // q_shared: the warp's rows of Q; position: key position of its first row.
  SALE_DEVICE WarpRows(u32 q_shared, s32 position, s32 kv_len, const AttendArgs &args)
      : q_shared_(q_shared), seen_(position, kv_len, args.sliding_window),
        scale_log2_(score_scale<Config>(args.softcap, args.softmax_scale) * log2_of_e()) {
    if constexpr (Config::softcap) {
      cap_factor_ = softcap_factor(args.softcap, args.softmax_scale);
    }
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        max_[m][r] = -infinity();
        sum_[m][r] = 0.0F;
      }
#pragma unroll
      for (int n = 0; n < out_tiles; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          out_[m][n][i] = 0.0F;
        }
      }
    }
  }

  // One step; keep_bit: which bit of Granule::keep speaks for these rows.
  template <class Step>
  SALE_DEVICE void step(u32 k_shared, u32 v_shared, const Step &step, u32 keep_bit) {
    bool any = false;
    bool partial = false;
#pragma unroll
    for (int g = 0; g < Granule<Config>::per_step; ++g) {
      const Granule<Config> granule = step.granule(g);
      const bool kept = ((granule.keep >> keep_bit) & 1U) != 0 && granule.key <= seen_.last() &&
                        !seen_.begin_after(granule.key + Granule<Config>::keys - 1);
      any = any || kept;
      partial = partial || !kept || !seen_.all(granule.key, Granule<Config>::keys);
    }
    if (!any) {
      return;
    }
    f32 scores[m_tiles][key_tiles][4];
    multiply_queries_and_keys<Element, Config::head_dim>(scores, q_shared_, k_shared);
    if constexpr (Config::softcap) {
      cap_scores(scores, cap_factor_);
    }
    if (partial) {
      mask_scores(scores, step, keep_bit);
    }
    soften(scores);
    multiply_values(scores, v_shared);
  }

  // Writes the rows below row_limit; out and lse point at the warp's first row, sink_logit at its head's.
  SALE_DEVICE void finish(u8 *out, s64 row_stride, f32 *lse, s32 row_limit, const f32 *sink_logit) {
    const u32 lane = lane_index();
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        f32 sum = sum_[m][r];
        sum += shuffle_xor(sum, 1);
        sum += shuffle_xor(sum, 2);
        f32 factor = 1.0F; // of what was summed before
        if constexpr (Config::sink_logits) {
          factor = add_logit(max_[m][r], sum, div_rn(load_global_f32(sink_logit) * log2_of_e(), scale_log2_));
        }
        const u32 row = m * 16 + r * 8 + lane / 4;
        f32 inverse = sum > 0.0F ? rcp_approx(sum) : (sum == 0.0F ? 0.0F : sum);
        if constexpr (Config::sink_logits) {
          inverse *= factor;
        }
        if (lse != nullptr && lane % 4 == 0 && static_cast<s32>(row) < row_limit) {
          lse[row] = sum == 0.0F ? -infinity() : (base_of(max_[m][r]) + log2_approx(sum)) * ln_of_2();
        }
        // Through the warp's own rows of Q, so that global stores are 16 bytes wide.
#pragma unroll
        for (int n = 0; n < out_tiles; ++n) {
          store_shared_4(q_shared_ + ValueRows::offset(row, n) + lane % 4 * 4,
                         Element::pack(out_[m][n][2 * r] * inverse, out_[m][n][2 * r + 1] * inverse));
        }
      }
    }
    sync_warp();
    constexpr int chunks = Layout::v_row_bytes / 16;
#pragma unroll
    for (int i = 0; i < Config::rows_per_warp * chunks / 32; ++i) {
      const s32 index = i * 32 + static_cast<s32>(lane);
      const s32 row = index / chunks;
      const s32 chunk = index % chunks;
      if (row < row_limit) {
        store_global_16(out + row * row_stride + s64{16} * chunk,
                        load_shared_16(q_shared_ + ValueRows::offset(row, chunk)));
      }
    }
  }

private:
  // Scores of keys that a row does not see or that its query block does not keep become -inf.
  template <class Step>
  SALE_DEVICE void mask_scores(f32 (&scores)[m_tiles][key_tiles][4], const Step &step, u32 keep_bit) {
    constexpr int tiles_per_granule = Granule<Config>::keys / 8;
    constexpr s32 never = 0x7fff0000;
    const s32 lane = static_cast<s32>(lane_index());
#pragma unroll
    for (int g = 0; g < Granule<Config>::per_step; ++g) {
      const Granule<Config> granule = step.granule(g);
      const s32 ahead = seen_.ahead(((granule.keep >> keep_bit) & 1U) != 0 ? granule.key + lane % 4 * 2 : never) -
                        seen_.further(lane / 4);
#pragma unroll
      for (int n = 0; n < tiles_per_granule; ++n) {
#pragma unroll
        for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            if (seen_.hides(ahead, m, n, i)) {
              scores[m][g * tiles_per_granule + n][i] = -infinity();
            }
          }
        }
      }
    }
  }

  // What exponents are taken relative to. Rounded once, never contracted into a later subtraction: while the maximum
  // stays, the rescaling factor must be 1 exactly, or errors add up over the steps. A row that has seen no key yet: any
  // finite base keeps exp2(-inf) = 0 free of NaN.
  SALE_DEVICE f32 base_of(f32 highest) const { return highest == -infinity() ? 0.0F : mul_rn(highest, scale_log2_); }

  // One more logit of a row, in the units of its scores; returns what the exponentials so far have to be multiplied by.
  SALE_DEVICE f32 add_logit(f32 &max, f32 &sum, f32 x) const {
    const f32 highest = max_f32(max, x);
    const f32 base = base_of(highest);
    const f32 factor = max == -infinity() ? 0.0F : exp2_approx(sub_rn(base_of(max), base));
    sum = sum * factor + exp2_approx(fma_rn(x, scale_log2_, -base));
    max = highest;
    return factor;
  }

  // Online softmax: scores become probabilities relative to the new maximum; sum and output are rescaled when it moved.
  SALE_DEVICE void soften(f32 (&scores)[m_tiles][key_tiles][4]) {
#pragma unroll
    for (int m = 0; m < m_tiles; ++m) {
      f32 alpha[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        f32 highest = max_[m][r];
#pragma unroll
        for (int n = 0; n < key_tiles; ++n) {
          highest = max_f32(highest, max_f32(scores[m][n][2 * r], scores[m][n][2 * r + 1]));
        }
        highest = max_f32(highest, shuffle_xor(highest, 1));
        highest = max_f32(highest, shuffle_xor(highest, 2));
        const f32 base = base_of(highest);
        alpha[r] = max_[m][r] == -infinity() ? 0.0F : exp2_approx(sub_rn(base_of(max_[m][r]), base));
        max_[m][r] = highest;
        f32 sum = 0.0F;
#pragma unroll
        for (int n = 0; n < key_tiles; ++n) {
#pragma unroll
          for (int i = 2 * r; i < 2 * r + 2; ++i) {
            scores[m][n][i] = exp2_approx(fma_rn(scores[m][n][i], scale_log2_, -base));
            sum += scores[m][n][i];
          }
        }
        sum_[m][r] = sum_[m][r] * alpha[r] + sum;
      }
      if (warp_ballot(alpha[0] != 1.0F || alpha[1] != 1.0F) != 0) {
#pragma unroll
        for (int n = 0; n < out_tiles; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            out_[m][n][i] *= alpha[i / 2];
          }
        }
      }
    }
  }

  // out += P · V; the accumulator fragments of the scores are the A fragments of this product.
  SALE_DEVICE void multiply_values(const f32 (&scores)[m_tiles][key_tiles][4], u32 v_shared) {
    const u32 lane = lane_index();
    const typename ValueRows::Lane v_lane(v_shared, lane % 16, lane / 16);
#pragma unroll
    for (int k = 0; k < key_tiles / 2; ++k) {
      u32 p[m_tiles][4];
#pragma unroll
      for (int m = 0; m < m_tiles; ++m) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          p[m][i] = Element::pack(scores[m][2 * k + i / 2][i % 2 * 2], scores[m][2 * k + i / 2][i % 2 * 2 + 1]);
        }
      }
#pragma unroll
      for (int n = 0; n < out_tiles / 2; ++n) {
        u32 b[4];
        ldmatrix_x4_trans(b, v_lane.at(k * 16, n * 2));
#pragma unroll
        for (int m = 0; m < m_tiles; ++m) {
          mma(Element{}, out_[m][2 * n], p[m], b[0], b[1]);
          mma(Element{}, out_[m][2 * n + 1], p[m], b[2], b[3]);
        }
      }
    }
  }

  u32 q_shared_;
  SeenKeys<Config, Config::rows_per_warp> seen_;
  f32 scale_log2_;
  f32 cap_factor_; // softcap
  f32 max_[m_tiles][2];
  f32 sum_[m_tiles][2]; // this lane's share
  f32 out_[m_tiles][out_tiles][4];
};

template <class Config, class Walk>
SALE_DEVICE void attend_tile(const AttendArgs &args, Walk walk) {
  using Layout = AttendLayout<Config>;
  constexpr int stages = Config::stages;
  const AttendTile<Config> tile(args);
  const Sequence<Config> sequence(args, tile.batch);
  const u8 *q = static_cast<const u8 *>(args.q.data) + 2 * sequence.query_element(args, args.q, tile.head);

  const u32 q_shared = dynamic_shared_address();
  const u32 kv_shared = q_shared + Layout::q_bytes;
  load_tile<Layout::rows, Layout::row_bytes, Config::threads>(q_shared, q, 2 * args.q.stride_token, sequence.q_len,
                                                              ConsecutiveRows{tile.first_row});

  const s32 warp_row = static_cast<s32>(thread_index() / 32) * Config::rows_per_warp;
  WarpRows<Config> rows(q_shared + warp_row * Layout::row_bytes, sequence.position + tile.first_row + warp_row,
                        sequence.kv_len, args);

  // Each round loads a step into one stage and computes on the oldest; pending[i] was loaded stages - 1 - i rounds ago.
  // The first rounds compute on steps without keys: filling the pipeline ahead of the loop would cost a second copy of
  // the walk.
  typename Walk::Step pending[stages];
#pragma unroll
  for (int i = 0; i < stages - 1; ++i) {
    pending[i] = walk.nothing();
  }
  s32 stage = 0; // the one to load
  do {
    cp_async_wait<stages - 2>();
    sync_threads(); // the oldest stage has landed for every thread, and every warp has left the one to load
    pending[stages - 1] = walk.next();
    if (!pending[stages - 1].empty()) {
      load_keys_and_values<Config>(kv_shared + stage * Layout::stage_bytes, args, pending[stages - 1]);
    }
    cp_async_commit();
    stage = stage == stages - 1 ? 0 : stage + 1; // now the oldest
    const u32 k_tile = kv_shared + stage * Layout::stage_bytes;
    rows.step(k_tile, k_tile + Layout::k_tile_bytes, pending[0], warp_row / Config::block_q);
#pragma unroll
    for (int i = 0; i < stages - 1; ++i) {
      pending[i] = pending[i + 1];
    }
  } while (!pending[0].empty());
  cp_async_wait<0>();
  sync_threads(); // finish() reuses the rows of Q: no copy may still land there

  const AttendTile<Config> done(args); // read again: it need not live in registers through the loop
  const Sequence<Config> own(args, done.batch);
  const s32 out_row = done.first_row + warp_row;
  u8 *out = static_cast<u8 *>(args.out.data) +
            2 * (own.query_element(args, args.out, done.head) + out_row * args.out.stride_token);
  f32 *lse = args.lse == nullptr ? nullptr : args.lse + own.lse_row(args, args.num_q_heads, done.head) + out_row;
  rows.finish(out, 2 * args.out.stride_token, lse, own.q_len - out_row, args.sink_logits + done.head);
}

template <class Config>
SALE_DEVICE void attend(const AttendArgs &args) {
  using Layout = AttendLayout<Config>;
  if (!AttendTile<Config>::exists(args)) {
    return;
  }
  if constexpr (Config::dense) {
    const AttendTile<Config> tile(args);
    const Sequence<Config> sequence(args, tile.batch);
    const s32 end_row = tile.first_row + Layout::rows;
    const s32 end_position = sequence.position + end_row;
    const s32 first_key = first_visible_key<Config>(end_position - Layout::rows, args.sliding_window);
    attend_tile<Config>(args, DenseWalk<Config>(first_key, end_visible_key<Config>(end_position, sequence.kv_len)));
  } else {
    attend_tile<Config>(args, MaskWalk<Config, Layout::walk_offset>(MaskRows<Config>(args)));
  }
}
