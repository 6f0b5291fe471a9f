// SPDX-License-Identifier: Apache-2.0
// tails: the values behind the last multiple of 32 keys of each sequence, and zeros up to the next. What lies behind
// the last value may be no number, and no probability of 0 would keep that from a product.
#pragma once

#include "args/tails_args.cuh"
#include "common/key_rows.cuh"
#include "common/sequence.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"

template <class Config>
struct TailsLayout {
  static_assert(Config::ragged, "plain batches end with their tensors");
  static constexpr int shared_bytes = 0;
};

// Grid: (num_kv_heads, batch). Nobody reads the tail of a sequence that has none.
template <class Config>
SALE_DEVICE void tails(const TailsArgs &args) {
  constexpr s32 keys = 32;
  constexpr s32 chunks = Config::head_dim / 8; // of a row, 16 bytes each
  const s32 kv_head = static_cast<s32>(block_x());
  const Sequence<Config> sequence(args, static_cast<s32>(block_y()));
  const s32 first = sequence.kv_len / keys * keys;
  if (first == sequence.kv_len) {
    return;
  }
  const KeyRows<Config> rows(args, args.v, sequence, kv_head);
  u8 *const to = static_cast<u8 *>(args.tails) +
                 (static_cast<s64>(sequence.batch) * args.num_kv_heads + kv_head) * (keys * chunks * 16);
#pragma unroll 1
  for (s32 i = static_cast<s32>(thread_index()); i < keys * chunks; i += Config::threads) {
    const s32 key = first + i / chunks;
    Vec16 chunk{{0, 0, 0, 0}};
    if (key < sequence.kv_len) {
      chunk = load_global_16(rows.row(key) + i % chunks * 16);
    }
    store_global_16(to + i * 16, chunk);
  }
}
