// SPDX-License-Identifier: Apache-2.0
// What a CTA of attend works on. Grid: (ceil(q_len / rows), num_q_heads, batch); the longest query tiles of a head come
// first.
#pragma once

#include "args/attend_args.cuh"
#include "device/special.cuh"
#include "device/types.cuh"

template <class Config>
struct AttendTile {
  static constexpr int rows = Config::rows_per_warp * Config::warps;
  static constexpr int query_blocks = Config::dense || rows < Config::block_q ? 1 : rows / Config::block_q;

  s32 first_row = static_cast<s32>(grid_x() - 1 - block_x()) * rows;
  s32 head = static_cast<s32>(block_y());
  s32 batch = static_cast<s32>(block_z());
};

// The mask rows of the CTA's query blocks. Holds nothing: what it needs is read again from parameters and special
// registers, so that it costs no registers in the main loop.
template <class Config>
class MaskRows {
public:
  SALE_DEVICE explicit MaskRows(const AttendArgs &args) : args_(args) {}

  SALE_DEVICE s32 words() const { return args_.mask_words; }

  // Word `index` of query block `block` of the CTA; 0 past the end.
  SALE_DEVICE u32 word(int block, s32 index) const {
    const AttendTile<Config> tile;
    const s32 q_blocks = ceil_div(args_.q_len, Config::block_q);
    const s32 q_block = tile.first_row / Config::block_q + block;
    if (index >= args_.mask_words || q_block >= q_blocks) {
      return 0;
    }
    const s64 row = (static_cast<s64>(tile.batch) * args_.num_q_heads + tile.head) * q_blocks + q_block;
    return args_.mask[row * args_.mask_words + index];
  }

private:
  const AttendArgs &args_;
};
