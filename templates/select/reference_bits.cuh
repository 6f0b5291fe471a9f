// SPDX-License-Identifier: Apache-2.0
// What select writes before it estimates: the bits that do not depend on estimates.
#pragma once

#include "common/mask_bits.cuh"
#include "common/region.cuh"
#include "device/memory.cuh"
#include "device/types.cuh"

// Whether a head whose tau is `tau` keeps every visible block of a sequence: nothing is estimated then.
template <class Config, class Args>
SALE_DEVICE bool keeps_all(const Args &args, s32 kv_len, f32 tau) {
  bool all = tau == 0.0F;
  if constexpr (Config::ragged) {
    all = all || kv_len < args.ragged.dense_below;
  }
  return all;
}

// Writes every mask word of one query block: the bits of R, or of all visible blocks. `threads` threads call it, each
// as another `thread`.
template <int threads, class Config>
SALE_DEVICE void write_reference_bits(u32 *row, s32 words, const Region<Config> &region, bool all_visible, u32 thread) {
  for (s32 word = static_cast<s32>(thread) * 4; word < words; word += threads * 4) {
    Vec16 bits;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      u32 estimated = bits_between(region.first_estimated, region.end_estimated, word + i);
      if constexpr (!Config::causal) {
        estimated &= ~bits_between(region.near_begin, region.near_end, word + i);
      }
      u32 visible = bits_below(region.visible, word + i);
      if constexpr (Config::sliding) {
        visible &= ~bits_below(region.first_visible, word + i);
      }
      bits.word[i] = visible & (all_visible ? ~0U : ~estimated);
    }
    store_global_16(row + word, bits);
  }
}
