// SPDX-License-Identifier: Apache-2.0
// quantize: K to codes and scales (docs/numerics.md, sections 5 and 12). One CTA takes one group of 32 keys: eight
// lanes hold a key, 16 keys at a time, twice.
#pragma once

#include "args/quantize_args.cuh"
#include "common/estimator.cuh"
#include "common/sequence.cuh"
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
  if constexpr (Config::estimator == Estimator::fp8) {
    quantize_floats<Config>(args, sequence, group);
  } else {
    quantize_integers<Config>(args, sequence, group);
  }
}
