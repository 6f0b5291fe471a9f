// SPDX-License-Identifier: Apache-2.0
// One group of 32 keys to integer codes and scales, and for int4 the bias of each query head (docs/numerics.md, section
// 5).
#pragma once

#include "args/quantize_args.cuh"
#include "common/coded_pages.cuh"
#include "common/codes.cuh"
#include "common/eighth_row.cuh"
#include "common/estimator.cuh"
#include "common/key_rows.cuh"
#include "common/sequence.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/shared.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"
#include "quantize/code_row.cuh"

// The amax of the scale group of this thread's keys, from the lane's own maximum over both of its keys.
template <class Config>
SALE_DEVICE f32 group_max(f32 lane_max) {
  const u32 shared = dynamic_shared_address();
  const u32 thread = thread_index();
  // Half a warp holds keys 2t and 2t+1 (mod 8) of both passes: part of one int4 group. Half warps h and h + 4 share t.
  f32 amax = eighth_row_max(lane_max);
  amax = max_nan(amax, shuffle_xor(amax, 8));
  if (thread % 16 == 0) {
    store_shared_f32(shared + thread / 16 * 4, amax);
  }
  sync_threads();
  if constexpr (Config::estimator == Estimator::int4) {
    const u32 t = thread / 16 % 4;
    return max_nan(load_shared_f32(shared + t * 4), load_shared_f32(shared + t * 4 + 16));
  } else {
    amax = 0.0F;
#pragma unroll
    for (int half_warp = 0; half_warp < 8; ++half_warp) {
      amax = max_nan(amax, load_shared_f32(shared + half_warp * 4));
    }
    return amax;
  }
}

template <class Config>
SALE_DEVICE void quantize_integers(const QuantizeArgs &args, const Sequence<Config> &sequence, s64 group) {
  using Row = EighthRow<Config::head_dim>;
  using Code = Codes<Config>;
  const u32 thread = thread_index();
  const s32 kv_head = static_cast<s32>(block_y());
  const KeyRows<Config> k(args, args.k, sequence, kv_head);

  Row mean;
  mean.load(args.kbar + sequence.kbar_element(args, args.num_kv_heads, kv_head));
  Row keys[2]; // K', zero where there is no key
  f32 lane_max = 0.0F;
#pragma unroll
  for (int pass = 0; pass < 2; ++pass) {
    const s64 key = group * 32 + s64{16} * pass + thread / 8;
    keys[pass].clear();
    if (key < sequence.kv_len) {
      keys[pass].template load<typename Config::Element>(k.row(key));
      keys[pass].subtract(mean);
    }
    lane_max = max_nan(lane_max, keys[pass].lane_absolute_max());
  }
  const f32 amax = group_max<Config>(lane_max);
  const f32 scale = Code::scale(amax);

#pragma unroll
  for (int pass = 0; pass < 2; ++pass) {
    const s64 key = group * 32 + s64{16} * pass + thread / 8;
    if (key < sequence.kv_len) {
      Code::store(code_row(args, sequence, kv_head, key), keys[pass], amax);
    }
  }
  const s64 first_group = sequence.template key_group<1>(args, args.num_kv_heads, kv_head);
  if constexpr (Config::estimator == Estimator::int8) {
    if (thread == 0) {
      store_global_f32(args.scales + first_group + group, scale);
      if constexpr (Config::coded_pages) {
        const CodedPages<Config> pages(args.paged, sequence.batch, args.num_kv_heads, kv_head);
        store_global_4(pages.scale(group), float_bits(scale));
      }
    }
  } else {
    if (thread < 64 && thread % 16 == 0) {
      store_global_f32(args.scales + (first_group + group) * 4 + thread / 16, scale);
    }
    const s32 num_q_heads = args.num_kv_heads * Config::gqa;
#pragma unroll 1
    for (s32 h = kv_head * Config::gqa; h < (kv_head + 1) * Config::gqa; ++h) {
      Row query_mean;
      query_mean.load(args.qbar + (static_cast<s64>(sequence.batch) * num_q_heads + h) * Config::head_dim);
      f32 *bias = args.bias + (sequence.template key_group<1>(args, num_q_heads, h) + group) * 32;
#pragma unroll
      for (int pass = 0; pass < 2; ++pass) {
        const f32 dot = canonical_dot(query_mean, keys[pass]);
        if (thread % 8 == 0) {
          store_global_f32(bias + s64{16} * pass + thread / 8, div_rn(dot, scale));
        }
      }
    }
  }
}
