// SPDX-License-Identifier: Apache-2.0
// channels: which channels of each KV head estimate, by the energies of its keys and of the queries that it serves, and
// what pruned queries are weighed with (docs/numerics.md, section 12). Every CTA sums one run of tokens; the last CTA
// of a KV head to arrive adds the partial sums in the order of the tokens and chooses.
#pragma once

#include "args/channels_args.cuh"
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
struct ChannelsLayout {
  static constexpr int chunks = Config::head_dim / 8;          // 16-byte pieces of a row, one thread each
  static constexpr int token_lanes = Config::threads / chunks; // rows that the CTA reads at once
  static constexpr int sums_bytes = token_lanes * Config::head_dim * 4;
  static constexpr int row_bytes = Config::head_dim * 4;
  // Then the order and the chosen channels, and whether this CTA is the last.
  static constexpr int shared_bytes = sums_bytes + 2 * row_bytes + 16;
  static constexpr int token_stride = 8; // only these tokens count
};

// Adds the squares of a lane's chunk of tokens first, first + token_lanes, .. below end, less mean; tokens are counted
// in steps of token_stride. row_of(token): where the chunk lies.
template <class Config, class RowOf>
SALE_DEVICE void add_squares(f32 (&sum)[8], const RowOf &row_of, s32 first, s32 end, const f32 (&mean)[8]) {
  using Layout = ChannelsLayout<Config>;
  using Element = typename Config::Element;
#pragma unroll 4
  for (s32 token = first; token < end; token += Layout::token_lanes) {
    const Vec16 v = load_global_16(row_of(s64{Layout::token_stride} * token));
#pragma unroll
    for (int c = 0; c < 8; ++c) {
      const u32 pair = v.word[c / 2];
      const f32 difference = sub_rn(c % 2 == 0 ? Element::low(pair) : Element::high(pair), mean[c]);
      sum[c] = fma_rn(difference, difference, sum[c]);
    }
  }
}

// Adds up the lanes' sums through shared memory and writes this split's.
template <class Config>
SALE_DEVICE void store_partial(f32 *partial, const f32 (&sum)[8], s32 token_lane, s32 chunk) {
  using Layout = ChannelsLayout<Config>;
  const u32 sums = dynamic_shared_address();
  if (token_lane < Layout::token_lanes) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      Vec16 v;
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        v.word[w] = float_bits(sum[half * 4 + w]);
      }
      store_shared_16(sums + static_cast<u32>((token_lane * Layout::chunks + chunk) * 32 + half * 16), v);
    }
  }
  sync_threads();
  for (s32 d = static_cast<s32>(thread_index()); d < Config::head_dim; d += Config::threads) {
    f32 total = 0.0F;
#pragma unroll
    for (int lane = 0; lane < Layout::token_lanes; ++lane) {
      total = add_rn(total, load_shared_f32(sums + static_cast<u32>((lane * Config::head_dim + d) * 4)));
    }
    store_global_f32(partial + d, total);
  }
  sync_threads();
}

// The energies of this split's share of the tokens: of Q over the heads of the group, then of K.
template <class Config>
SALE_DEVICE void sum_energies(const ChannelsArgs &args, const Sequence<Config> &sequence, s32 splits, s32 kv_head,
                              s32 split, f32 *partial) {
  using Layout = ChannelsLayout<Config>;
  const s32 chunk = static_cast<s32>(thread_index()) % Layout::chunks;
  const s32 token_lane = static_cast<s32>(thread_index()) / Layout::chunks;
  const bool reads = token_lane < Layout::token_lanes;
  f32 mean[8];
  f32 sum[8];
#pragma unroll
  for (int c = 0; c < 8; ++c) {
    mean[c] = 0.0F;
    sum[c] = 0.0F;
  }
  if (args.channels != nullptr && reads) {
    const s32 tokens = ceil_div(sequence.q_len, Layout::token_stride);
    const s32 share = ceil_div(tokens, splits);
    const s64 token_bytes = 2 * args.q.stride_token;
    for (s32 head = kv_head * Config::gqa; head < (kv_head + 1) * Config::gqa; ++head) {
      const u8 *q =
          static_cast<const u8 *>(args.q.data) + 2 * sequence.query_element(args, args.q, head) + s64{16} * chunk;
      add_squares<Config>(
          sum, [&](s64 token) { return q + token * token_bytes; }, split * share + token_lane,
          imin((split + 1) * share, tokens), mean);
    }
  }
  store_partial<Config>(partial, sum, token_lane, chunk);

#pragma unroll
  for (int c = 0; c < 8; ++c) {
    sum[c] = 0.0F;
  }
  if (reads) {
    const f32 *kbar = args.kbar + sequence.kbar_element(args, args.num_kv_heads, kv_head) + 8 * chunk;
#pragma unroll
    for (int c = 0; c < 8; ++c) {
      mean[c] = load_global_f32(kbar + c);
    }
    const s32 tokens = ceil_div(sequence.kv_len, Layout::token_stride);
    const s32 share = ceil_div(tokens, splits);
    KeyRows<Config> rows(args, args.k, sequence, kv_head);
    rows.skip(s64{16} * chunk);
    add_squares<Config>(
        sum, [&](s64 token) { return rows.row(token); }, split * share + token_lane, imin((split + 1) * share, tokens),
        mean);
  }
  store_partial<Config>(partial + Config::head_dim, sum, token_lane, chunk);
}

// Sum of a channel's partial energies.
template <class Config>
SALE_DEVICE f32 total_energy(const f32 *partial, s32 splits) {
  f32 sum = 0.0F;
#pragma unroll 8
  for (s32 i = 0; i < splits; ++i) {
    sum = add_rn(sum, load_global_f32(partial + s64{2} * i * Config::head_dim));
  }
  return sum;
}

// Marks the estimate_dim channels of the greatest products of energies: chosen[d] is 1 or 0.
template <class Config>
SALE_DEVICE void choose(const f32 *partial, s32 splits, u32 order, u32 chosen) {
  for (u32 d = thread_index(); d < Config::head_dim; d += Config::threads) {
    const f32 energy =
        mul_rn(total_energy<Config>(partial + d, splits), total_energy<Config>(partial + Config::head_dim + d, splits));
    // The bits of values >= 0 are in their order; NaN counts as infinity.
    const u32 bits = float_bits(energy);
    store_shared_4(order + d * 4, bits < 0x7f800000U ? bits : 0x7f800000U);
  }
  sync_threads();
  for (u32 d = thread_index(); d < Config::head_dim; d += Config::threads) {
    const u32 own = load_shared_4(order + d * 4);
    u32 greater = 0;
    for (u32 other = 0; other < Config::head_dim; ++other) {
      const u32 bits = load_shared_4(order + other * 4);
      greater += bits > own || (bits == own && other < d) ? 1 : 0;
    }
    store_shared_4(chosen + d * 4, greater < Config::estimate_dim ? 1 : 0);
  }
  sync_threads();
}

// What the last CTA of a KV head does.
template <class Config>
SALE_DEVICE void write_channels(const ChannelsArgs &args, const f32 *partial, s32 splits, s64 head, s32 kv_head) {
  using Layout = ChannelsLayout<Config>;
  const u32 order = dynamic_shared_address() + Layout::sums_bytes;
  const u32 chosen = order + Layout::row_bytes;
  const auto write_weight = [&](u32 position, u32 channel) {
    if (args.weights != nullptr) {
      const f32 energy = total_energy<Config>(partial + Config::head_dim + channel, splits);
      store_global_f32(args.weights + head * Config::estimate_dim + position, sqrt_rn(energy));
    }
  };
  if (args.channels == nullptr) {
    for (u32 position = thread_index(); position < Config::estimate_dim; position += Config::threads) {
      u32 channel = position;
      if constexpr (Config::gathered) {
        channel = load_global_4(args.given + kv_head * Config::estimate_dim + position);
      }
      write_weight(position, channel);
    }
    return;
  }
  choose<Config>(partial, splits, order, chosen);
  for (u32 d = thread_index(); d < Config::head_dim; d += Config::threads) {
    if (load_shared_4(chosen + d * 4) == 0) {
      continue;
    }
    u32 position = 0;
    for (u32 lower = 0; lower < d; ++lower) {
      position += load_shared_4(chosen + lower * 4);
    }
    store_global_4(args.channels + head * Config::estimate_dim + position, d);
    write_weight(position, d);
  }
}

// Grid: (splits, num_kv_heads, batch).
template <class Config>
SALE_DEVICE void channels(const ChannelsArgs &args) {
  using Layout = ChannelsLayout<Config>;
  const s32 kv_head = static_cast<s32>(block_y());
  const s64 head = static_cast<s64>(block_z()) * args.num_kv_heads + kv_head;
  const s32 split = static_cast<s32>(block_x());
  const Sequence<Config> sequence(args, static_cast<s32>(block_z()));
  s32 splits = args.splits;
  if constexpr (Config::ragged) {
    splits = energy_splits(sequence.kv_len);
    if (split >= splits) {
      return;
    }
  }
  f32 *partial = args.partial + head * args.splits * 2 * Config::head_dim;
  sum_energies<Config>(args, sequence, splits, kv_head, split, partial + s64{2} * split * Config::head_dim);

  const u32 is_last = dynamic_shared_address() + Layout::sums_bytes + 2 * Layout::row_bytes;
  if (thread_index() == 0) {
    const u32 before = add_global_acq_rel(args.arrived + head, 1);
    store_shared_4(is_last, before == static_cast<u32>(splits) - 1 ? 1 : 0);
  }
  sync_threads();
  if (load_shared_4(is_last) != 0) {
    write_channels<Config>(args, partial, splits, head, kv_head);
  }
}
