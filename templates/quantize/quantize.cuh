// SPDX-License-Identifier: Apache-2.0
// quantize: K to codes and scales (docs/numerics.md, sections 5 and 12). One CTA takes one group of 32 keys: eight
// lanes hold a key, 16 keys at a time, twice.
#pragma once

#include "args/quantize_args.cuh"
#include "common/coded_pages.cuh"
#include "common/estimator.cuh"
#include "common/sequence.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "quantize/float_keys.cuh"
#include "quantize/integer_keys.cuh"

template <class Config, Estimator estimator>
struct QuantizeSharedMemory {
  static constexpr int bytes = 32; // amax of each half warp
};
template <class Config>
struct QuantizeSharedMemory<Config, Estimator::fp8> {
  static constexpr int bytes = FloatKeys<Config>::shared_bytes;
};

template <class Config>
struct QuantizeLayout {
  static_assert(Config::threads == 128, "16 keys of eight lanes");
  static constexpr int shared_bytes = QuantizeSharedMemory<Config, Config::estimator>::bytes;
};

// Of a group whose codes are in its page already.
template <class Config>
SALE_DEVICE void copy_scale(const QuantizeArgs &args, const Sequence<Config> &sequence, s64 group) {
  const s32 kv_head = static_cast<s32>(block_y());
  const CodedPages<Config> pages(args.paged, sequence.batch, args.num_kv_heads, kv_head);
  const u32 scale = load_global_4(pages.scale(group));
  if constexpr (Config::estimator == Estimator::fp8) {
    store_float_scale(args, sequence, kv_head, group, scale);
  } else if (thread_index() == 0) {
    store_global_4(args.scales + sequence.template key_group<1>(args, args.num_kv_heads, kv_head) + group, scale);
  }
}

// Grid: (ceil(kv_len / 32), num_kv_heads, batch); ragged: (kv_rows / 32, num_kv_heads, 1).
template <class Config>
SALE_DEVICE void quantize(const QuantizeArgs &args) {
  s32 batch = static_cast<s32>(block_z());
  s32 group = static_cast<s32>(block_x());
  if constexpr (Config::ragged) {
    batch = owner_of_keys(args.ragged, group);
    if (batch < 0) {
      return;
    }
    group -= args.ragged.sequences[batch].kv_row / 32;
  }
  const Sequence<Config> sequence(args, batch);
  if (Config::ragged && group * 32 >= sequence.kv_len) {
    return;
  }
  if constexpr (Config::coded_pages) {
    if ((group + 1) * 32 <= sequence.entry(args).coded_len) {
      copy_scale(args, sequence, group);
      return;
    }
  }
  if constexpr (Config::estimator == Estimator::fp8) {
    quantize_floats<Config>(args, sequence, group);
  } else {
    quantize_integers<Config>(args, sequence, group);
  }
}
