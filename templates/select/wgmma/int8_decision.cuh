// SPDX-License-Identifier: Apache-2.0
// What int8 estimates keep of a tile (docs/numerics.md, section 7): as fp8_decision.cuh, but each of the eight columns
// that a thread has of 32 keys is a word of its own.
#pragma once

#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/types.cuh"
#include "select/wgmma/code_ring.cuh"
#include "select/integer_frame.cuh"

template <class Config>
class Int8Decision {
  static constexpr int keys = SelectLayout<Config>::keys;
  static constexpr int blocks = keys / Config::block_k;

public:
  using Result = s32;
  using Word = s32;
  static constexpr int words = keys / 2; // of D
  static constexpr int scale_words = keys / 32;

  // The scales of a tile of a KV head in registers. Where the tile ends past the last key they are not used.
  struct Scales {
    f32 values[scale_words];

    SALE_DEVICE Scales(const CodeRing<Config> &, const SelectWgmmaArgs &args, const SelectKeys<Config> &of, s32 tile) {
      const s32 groups = ceil_div(Config::ragged ? of.kv_len : args.kv_len, 32);
      const u32 *of_head =
          args.k_scales + (Config::ragged ? s64{of.first_row / 32} : static_cast<s64>(of.kv_head) * groups);
#pragma unroll
      for (int i = 0; i < scale_words; ++i) {
        values[i] = load_global_f32(of_head + imin(tile * scale_words + i, groups - 1));
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
  SALE_DEVICE void settle() {}

  // Bits b and b + 16 of the result are clear where this thread saw an estimate that keeps the tile's key block b.
  SALE_DEVICE u32 below(const Word (&d)[words], const Scales &scales) const {
    u32 bits = 0;
#pragma unroll
    for (int b = 0; b < blocks; ++b) {
      bool keeps = false;
#pragma unroll
      for (int s = b * (Config::block_k / 32); s < (b + 1) * (Config::block_k / 32); ++s) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const Word *row = d + s * 16 + r * 2;
          s32 best = imax(row[0], row[1]);
#pragma unroll
          for (int column = 4; column < 16; column += 4) {
            best = imax(imax(best, row[column]), row[column + 1]);
          }
          keeps |= !(mul_rn(IntegerFrame::small_to_float(best), scales.values[s]) <= theta_[r]);
        }
      }
      bits |= keeps ? 0U : 0x00010001U << b;
    }
    return bits;
  }

private:
  f32 theta_[2];
};
