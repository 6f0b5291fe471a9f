// SPDX-License-Identifier: Apache-2.0
// values: V to e4m3 codes with one power-of-two scale per head (docs/numerics.md, section 14), transposed, so that the
// 32 keys of a block are one step of P·V. One CTA takes one block; a thread takes eight channels of four keys.
//
// Where attend's accumulators have S for columns 8n + 2t and 8n + 2t + 1, an operand in registers has P for k =
// 4t..4t+3 and 16+4t..16+4t+3. So byte 16h + 4t + i of a channel is key 16h + 2t + i for i < 2 and 16h + 8 + 2t + i - 2
// for the others. The 16-byte halves of a channel's row trade places where a copy with 32-byte swizzle would have them
// do so.
#pragma once

#include "args/values_args.cuh"
#include "common/amax_scale.cuh"
#include "common/key_rows.cuh"
#include "common/sequence.cuh"
#include "device/element.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"

template <class Config>
struct ValuesLayout {
  static_assert(Config::threads == Config::head_dim, "eight threads share eight channels");
  static constexpr int shared_bytes = 0;
};

// Grid: (blocks, num_kv_heads, batch); ragged: (kv_rows / 32, num_kv_heads, 1). Blocks past the last key are of zeros.
template <class Config>
SALE_DEVICE void values(const ValuesArgs &args) {
  using Element = typename Config::Element;
  const u32 place = thread_index() % 8; // 4h + t
  const u32 channel = thread_index() / 8 * 8;
  s64 block = block_x(); // of the sequence
  s32 batch = static_cast<s32>(block_z());
  if constexpr (Config::ragged) {
    batch = owner_of_keys(args.ragged, static_cast<s32>(block));
    if (batch < 0) {
      return;
    }
    block -= args.ragged.sequences[batch].kv_row / 32;
  }
  const Sequence<Config> sequence(args, batch);
  const s32 kv_head = static_cast<s32>(block_y());
  const s64 head = static_cast<s64>(batch) * args.num_kv_heads + kv_head;
  const s64 place_of_block = sequence.template key_group<4>(args, args.num_kv_heads, kv_head) + block;
  KeyRows<Config> v(args, args.v, sequence, kv_head);
  v.skip(s64{2} * channel);
  Vec16 rows[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const s64 key = block * 32 + place / 4 * 16 + place % 4 * 2 + i / 2 * 8 + i % 2;
    rows[i] = key < sequence.kv_len ? load_global_16(v.row(key)) : Vec16{{0, 0, 0, 0}};
  }
  const f32 power = AmaxScale::power(AmaxScale::exponent(load_global_f32(args.amax + head)));
  u8 *codes = args.codes + (place_of_block * Config::head_dim + channel) * 32;
#pragma unroll
  for (int c = 0; c < 8; ++c) {
    f32 x[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const u32 pair = rows[i].word[c / 2];
      x[i] = mul_rn(c % 2 == 0 ? Element::low(pair) : Element::high(pair), power);
    }
    const u32 word = c < 4 ? place : place ^ 4U;
    store_global_4(codes + c * 32 + word * 4, E4m3::pack(x[0], x[1], x[2], x[3]));
  }
  if (thread_index() == 0) {
    const f32 k_power = F16::low(load_global_4(args.k_scales + place_of_block));
    const f32 inverse = k_power == 0.0F ? 1.0F : div_rn(1.0F, k_power);
    store_global_16(args.scales + place_of_block * 4, {{F16::pack(inverse, inverse), 0, 0, 0}});
  }
}
