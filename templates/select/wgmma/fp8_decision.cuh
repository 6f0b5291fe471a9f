// SPDX-License-Identifier: Apache-2.0
// What fp8 estimates keep of a tile (docs/numerics.md, section 12).
//
// A thread holds of D, for its rows lane/4 and lane/4 + 8, two neighbouring columns in every eight: over 32 keys, which
// share a scale, four pairs a row. Their maximum as a pair, one fma and the sign bits tell what is kept.
#pragma once

#include "device/element.cuh"
#include "device/half2.cuh"
#include "device/memory.cuh"
#include "device/types.cuh"
#include "select/wgmma/code_ring.cuh"

// The largest f16 that is at most x, twice; NaN stays NaN.
SALE_DEVICE u32 round_down_pair(f32 x) {
  u32 pair = F16::pack(x, x);
  if (F16::low(pair) > x) {
    pair += (pair & 0x8000U) != 0 ? 0x00010001U : 0xfffeffffU; // away from zero, or toward it: the next one below
  }
  return pair;
}

template <class Config>
class Fp8Decision {
  static constexpr int keys = SelectLayout<Config>::keys;
  static constexpr int blocks = keys / Config::block_k;
  static constexpr int scale_vectors = keys / 128;

public:
  using Result = F16;
  using Word = u32;
  static constexpr int words = keys / 4; // of D
  static constexpr int scale_words = keys / 32;

  // The scales of the ring's present tile in registers: f16 pairs.
  struct Scales {
    Vec16 vectors[scale_vectors];

    SALE_DEVICE Scales(const CodeRing<Config> &ring, const SelectWgmmaArgs &, const SelectKeys<Config> &, s32) {
#pragma unroll
      for (int i = 0; i < scale_vectors; ++i) {
        vectors[i] = load_shared_16(ring.scales() + i * 16);
      }
    }
  };

  // Starts loading θ of the thread's rows.
  SALE_DEVICE void load(const f32 *theta) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      theta_[r] = load_global_f32(theta + r * 8);
    }
  }
  // Between load() and below().
  SALE_DEVICE void settle() {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      minus_theta_[r] = round_down_pair(theta_[r]) ^ 0x80008000U;
    }
  }

  // Bits b and b + 16 of the result are clear where this thread saw a pair that keeps the tile's key block b.
  SALE_DEVICE u32 below(const Word (&d)[words], const Scales &scales) const {
    u32 bits = 0;
#pragma unroll
    for (int b = 0; b < blocks; ++b) {
      u32 signs = ~0U; // 15 and 31: no pair of the block so far keeps it
#pragma unroll
      for (int s = b * (Config::block_k / 32); s < (b + 1) * (Config::block_k / 32); ++s) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const Word *row = d + s * 8 + r;
          const u32 best = max_half2(max_half2(max_half2(row[0], row[2]), row[4]), row[6]);
          signs &= fma_half2(minus_theta_[r], scales.vectors[s / 4].word[s % 4], best);
        }
      }
      bits |= signs >> (15 - b) & 0x00010001U << b;
    }
    return bits;
  }

private:
  f32 theta_[2];
  u32 minus_theta_[2];
};
