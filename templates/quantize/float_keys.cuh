// SPDX-License-Identifier: Apache-2.0
// One group of 32 keys to e4m3 codes and a power-of-two scale (docs/numerics.md, section 12).
#pragma once

#include "args/quantize_args.cuh"
#include "common/coded_pages.cuh"
#include "common/codes.cuh"
#include "common/eighth_row.cuh"
#include "common/key_rows.cuh"
#include "common/load_keys.cuh"
#include "common/load_tile.cuh"
#include "common/project.cuh"
#include "common/sequence.cuh"
#include "common/swizzle.cuh"
#include "device/cp_async.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/shared.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"
#include "quantize/code_row.cuh"

// K' of two keys as the estimate sees it, zero where there is no key.
template <class Config>
class FloatKeys {
  using Element = typename Config::Element;
  static constexpr int row_bytes = Config::head_dim * 2;

public:
  // Rows whose channels are picked or mixed pass through shared memory; behind them lie a maximum of each warp and
  // weights.
  static constexpr int staged_bytes = Config::gathered || Config::projected ? 32 * row_bytes : 0;
  static constexpr int maxima = staged_bytes;
  static constexpr int weights = maxima + 16;
  static constexpr int shared_bytes = weights + (Config::projected ? 32 * Config::estimate_dim * 4 : 0);

  EighthRow<Config::estimate_dim> rows[2];

  static SALE_DEVICE s64 key(s64 group, int pass) { return group * 32 + s64{16} * pass + thread_index() / 8; }

  SALE_DEVICE void load(const QuantizeArgs &args, const Sequence<Config> &sequence, s64 group, s32 kv_head) {
    const KeyRows<Config> k(args, args.k, sequence, kv_head);
    const f32 *kbar = args.kbar + sequence.kbar_element(args, args.num_kv_heads, kv_head);
    const u32 tile = dynamic_shared_address();
    if constexpr (Config::gathered || Config::projected) {
      stage(tile, k, static_cast<s32>(group * 32), sequence.kv_len);
      cp_async_commit();
    }
    if constexpr (Config::projected) {
      cp_async_wait<0>(); // and the projection begins with a barrier
      static_assert(Projection<Config>::shared_bytes == shared_bytes - weights, "the weights fit");
      Projection<Config>::apply(rows,
                                args.projection + (s64{kv_head} * 2 + 1) * Config::estimate_dim * Config::head_dim,
                                tile + weights, StagedKeys{tile, kbar});
      clear_missing(sequence.kv_len, group);
    } else if constexpr (Config::gathered) {
      EighthChannels<Config::estimate_dim> channels;
      channels.load(args.channels + sequence.batch * args.channels_stride + kv_head * Config::estimate_dim);
      EighthRow<Config::estimate_dim> mean;
      mean.gather(channels, kbar);
      cp_async_wait<0>();
      sync_threads();
#pragma unroll
      for (int pass = 0; pass < 2; ++pass) {
        rows[pass].template gather_shared<Element, Config::head_dim>(channels, tile, 16 * pass + thread_index() / 8);
        rows[pass].subtract(mean);
      }
      clear_missing(sequence.kv_len, group);
    } else {
      EighthRow<Config::head_dim> mean;
      mean.load(kbar);
#pragma unroll
      for (int pass = 0; pass < 2; ++pass) {
        rows[pass].clear();
        if (key(group, pass) < sequence.kv_len) {
          rows[pass].template load<Element>(k.row(key(group, pass)));
          rows[pass].subtract(mean);
        }
      }
    }
  }

private:
  // Starts copying keys first_key, .. to shared memory.
  static SALE_DEVICE void stage(u32 tile, const KeyRows<Config> &k, s32 first_key, s32 kv_len) {
    if constexpr (Config::paged) {
      load_keys<32, row_bytes, Config::threads, Config::page_rows>(tile, k, first_key, kv_len);
    } else {
      load_tile<32, row_bytes, Config::threads>(tile, k.row(0), k.stride(), kv_len, ConsecutiveRows{first_key});
    }
  }

  // Channels d and d + 1 of this thread's keys less their mean.
  struct StagedKeys {
    u32 tile;
    const f32 *kbar;
    SALE_DEVICE void operator()(f32 (&x)[2][2], u32 d) const {
      const f32 mean[2] = {load_global_f32(kbar + d), load_global_f32(kbar + d + 1)};
#pragma unroll
      for (int pass = 0; pass < 2; ++pass) {
        const u32 row = 16 * pass + thread_index() / 8;
        const u32 pair = load_shared_4(tile + Swizzle<row_bytes>::offset(row, d / 8) + d % 8 * 2);
        x[pass][0] = sub_rn(Element::low(pair), mean[0]);
        x[pass][1] = sub_rn(Element::high(pair), mean[1]);
      }
    }
  };

  SALE_DEVICE void clear_missing(s32 kv_len, s64 group) {
#pragma unroll
    for (int pass = 0; pass < 2; ++pass) {
      if (key(group, pass) >= kv_len) {
        rows[pass].clear();
      }
    }
  }
};

// The largest n2 of the CTA's keys; `maxima`: four words of shared memory.
template <int dim>
SALE_DEVICE f32 largest_norm(const EighthRow<dim> (&rows)[2], u32 maxima) {
  f32 n2 = max_nan(canonical_dot(rows[0], rows[0]), canonical_dot(rows[1], rows[1]));
  n2 = max_nan(n2, shuffle_xor(n2, 8));
  n2 = max_nan(n2, shuffle_xor(n2, 16));
  if (lane_index() == 0) {
    store_shared_f32(maxima + thread_index() / 32 * 4, n2);
  }
  sync_threads();
  const Vec16 all = load_shared_16(maxima);
  return max_nan(max_nan(bits_float(all.word[0]), bits_float(all.word[1])),
                 max_nan(bits_float(all.word[2]), bits_float(all.word[3])));
}

// Writes the scale of a group; with the last one go those that pad it.
template <class Config>
SALE_DEVICE void store_float_scale(const QuantizeArgs &args, const Sequence<Config> &sequence, s32 kv_head, s64 group,
                                   u32 scale) {
  const s64 groups = ceil_div(sequence.kv_len, 32);
  const s64 padded_groups = s64{4} * ceil_div(static_cast<s32>(groups), 4);
  const s64 words = group == groups - 1 ? padded_groups - group : 1;
  if (thread_index() < words) {
    store_global_4(args.scales + sequence.template key_group<4>(args, args.num_kv_heads, kv_head) + group +
                       thread_index(),
                   thread_index() == 0 ? scale : 0);
  }
}

template <class Config>
SALE_DEVICE void quantize_floats(const QuantizeArgs &args, const Sequence<Config> &sequence, s64 group) {
  const s32 kv_head = static_cast<s32>(block_y());
  FloatKeys<Config> keys;
  keys.load(args, sequence, group, kv_head);
  const f32 n2 = largest_norm(keys.rows, dynamic_shared_address() + FloatKeys<Config>::maxima);
  const f32 power = FloatScale::power(FloatScale::of_keys(n2));
#pragma unroll
  for (int pass = 0; pass < 2; ++pass) {
    const s64 key = FloatKeys<Config>::key(group, pass);
    if (key < sequence.kv_len) {
      store_float_codes(code_row(args, sequence, kv_head, key), keys.rows[pass], power);
    }
  }
  store_float_scale(args, sequence, kv_head, group, FloatScale::word_of_keys(n2));
  if constexpr (Config::coded_pages) {
    if (thread_index() == 0) {
      const CodedPages<Config> pages(args.paged, sequence.batch, args.num_kv_heads, kv_head);
      store_global_4(pages.scale(group), FloatScale::word_of_keys(n2));
    }
  }
}
