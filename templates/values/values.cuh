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

// Grid: (blocks, num_kv_heads, batch). Blocks past the last key are of zeros.
template <class Config>
SALE_DEVICE void values(const ValuesArgs &args) {
  static_assert(!Config::ragged, "this kernel is for plain batches so far");
  using Element = typename Config::Element;
  const u32 place = thread_index() % 8; // 4h + t
  const u32 channel = thread_index() / 8 * 8;
  const s64 block = block_x();
  const s64 blocks = ceil_div(args.kv_len, 128) * s64{4};
  const s64 head = static_cast<s64>(block_z()) * args.num_kv_heads + block_y();
  const u8 *v = static_cast<const u8 *>(args.v.data) +
                2 * (block_z() * args.v.stride_batch + block_y() * args.v.stride_head + channel);
  Vec16 rows[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const s64 key = block * 32 + place / 4 * 16 + place % 4 * 2 + i / 2 * 8 + i % 2;
    rows[i] = key < args.kv_len ? load_global_16(v + 2 * key * args.v.stride_token) : Vec16{{0, 0, 0, 0}};
  }
  const f32 power = AmaxScale::power(AmaxScale::exponent(load_global_f32(args.amax + head)));
  u8 *codes = args.codes + ((head * blocks + block) * Config::head_dim + channel) * 32;
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
    const f32 k_power = F16::low(load_global_4(args.k_scales + head * blocks + block));
    const f32 inverse = k_power == 0.0F ? 1.0F : div_rn(1.0F, k_power);
    store_global_16(args.scales + (head * blocks + block) * 4, {{F16::pack(inverse, inverse), 0, 0, 0}});
  }
}
