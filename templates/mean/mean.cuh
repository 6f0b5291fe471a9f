// SPDX-License-Identifier: Apache-2.0
// mean: the mean of each head's rows, fp32 (docs/numerics.md, section 2). Every CTA sums one run of tokens; the last
// CTA of a head to arrive adds the partial sums in the order of the tokens, so the result does not depend on the
// schedule.
#pragma once

#include "args/mean_args.cuh"
#include "common/key_rows.cuh"
#include "common/sequence.cuh"
#include "common/token_splits.cuh"
#include "device/element.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/shared.cuh"
#include "device/special.cuh"
#include "device/types.cuh"

template <class Config>
struct MeanLayout {
  static constexpr int chunks = Config::head_dim / 8;          // 16-byte pieces of a row, one thread each
  static constexpr int token_lanes = Config::threads / chunks; // rows that the CTA reads at once
  static constexpr int sums_bytes = token_lanes * Config::head_dim * 4;
  static constexpr int shared_bytes = sums_bytes + 16;
};

// Rows of a head one after the other.
struct EvenRows {
  const u8 *base;
  s64 stride; // bytes
  SALE_DEVICE const u8 *row(s64 token) const { return base + token * stride; }
};

// Leaves the sums of tokens [first, end) in shared memory, [token_lanes, head_dim].
template <class Config, class Rows>
SALE_DEVICE void sum_tokens(u32 sums, const Rows &rows, s32 first, s32 end) {
  using Layout = MeanLayout<Config>;
  using Element = typename Config::Element;
  const s32 chunk = static_cast<s32>(thread_index()) % Layout::chunks;
  const s32 token_lane = static_cast<s32>(thread_index()) / Layout::chunks;
  if (token_lane >= Layout::token_lanes) {
    return;
  }
  f32 sum[8];
#pragma unroll
  for (int c = 0; c < 8; ++c) {
    sum[c] = 0.0F;
  }
#pragma unroll 4
  for (s32 token = first + token_lane; token < end; token += Layout::token_lanes) {
    const Vec16 v = load_global_16(rows.row(token) + s64{16} * chunk);
#pragma unroll
    for (int c = 0; c < 8; c += 2) {
      sum[c] = add_rn(sum[c], Element::low(v.word[c / 2]));
      sum[c + 1] = add_rn(sum[c + 1], Element::high(v.word[c / 2]));
    }
  }
  const u32 destination = sums + static_cast<u32>((token_lane * Layout::chunks + chunk) * 32);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    Vec16 v;
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      v.word[w] = float_bits(sum[half * 4 + w]);
    }
    store_shared_16(destination + half * 16, v);
  }
}

// What CTAs sum: a plain batch's tokens as the host says, a sequence's by its own length.
template <class Config>
struct MeanTokens {
  s32 len;
  s32 splits; // the sums of splits from here on do not exist
  s32 per_split;

  SALE_DEVICE explicit MeanTokens(const MeanArgs &args)
      : len(args.len), splits(args.splits), per_split(args.tokens_per_split) {
    if constexpr (Config::ragged) {
      const Sequence<Config> sequence(args, static_cast<s32>(block_z()));
      len = args.of_queries != 0 ? sequence.q_len : sequence.kv_len;
      per_split = mean_tokens_per_split(len);
      splits = imax(1, ceil_div(len, per_split)); // where there is no token the mean is 0
    }
  }

  // Leaves the sums of this CTA's tokens in shared memory.
  SALE_DEVICE void sum(const MeanArgs &args, u32 sums) const {
    const s32 first = static_cast<s32>(block_x()) * per_split;
    const s32 end = imin(first + per_split, len);
    EvenRows rows{static_cast<const u8 *>(args.x.data), 2 * args.x.stride_token};
    if constexpr (Config::ragged) {
      const Sequence<Config> sequence(args, static_cast<s32>(block_z()));
      const s32 head = static_cast<s32>(block_y());
      if constexpr (Config::paged) {
        if (args.of_queries == 0) {
          sum_tokens<Config>(sums, KeyRows<Config>(args, args.x, sequence, head), first, end);
          return;
        }
      }
      rows.base += 2 * (args.of_queries != 0 ? sequence.query_element(args, args.x, head)
                                             : sequence.key_element(args, args.x, head));
    } else {
      rows.base += 2 * (static_cast<s64>(block_z()) * args.x.stride_batch + block_y() * args.x.stride_head);
    }
    sum_tokens<Config>(sums, rows, first, end);
  }
};

// Grid: (splits, heads, batch).
template <class Config>
SALE_DEVICE void mean(const MeanArgs &args) {
  using Layout = MeanLayout<Config>;
  const s32 split = static_cast<s32>(block_x());
  const s64 head = static_cast<s64>(block_z()) * args.heads + block_y();
  const u32 sums = dynamic_shared_address();
  const u32 is_last = sums + Layout::sums_bytes;

  const MeanTokens<Config> tokens(args);
  if (Config::ragged && split >= tokens.splits) {
    return;
  }
  tokens.sum(args, sums);
  sync_threads();
  for (s32 d = static_cast<s32>(thread_index()); d < Config::head_dim; d += Config::threads) {
    f32 sum = 0.0F;
#pragma unroll
    for (int lane = 0; lane < Layout::token_lanes; ++lane) {
      sum = add_rn(sum, load_shared_f32(sums + static_cast<u32>((lane * Config::head_dim + d) * 4)));
    }
    store_global_f32(args.partial + (head * args.splits + split) * Config::head_dim + d, sum);
  }
  sync_threads(); // all of the CTA's partial sums come before its arrival
  if (thread_index() == 0) {
    const u32 before = add_global_acq_rel(args.arrived + head, 1);
    store_shared_4(is_last, before == static_cast<u32>(tokens.splits) - 1 ? 1 : 0);
  }
  sync_threads();
  if (load_shared_4(is_last) == 0) {
    return;
  }
  for (s32 d = static_cast<s32>(thread_index()); d < Config::head_dim; d += Config::threads) {
    f32 sum = 0.0F;
#pragma unroll 8
    for (s32 i = 0; i < tokens.splits; ++i) {
      sum = add_rn(sum, load_global_f32(args.partial + (head * args.splits + i) * Config::head_dim + d));
    }
    store_global_f32(args.mean + head * Config::head_dim + d,
                     div_rn(sum, to_float_rn(Config::ragged ? imax(tokens.len, 1) : tokens.len)));
  }
}
