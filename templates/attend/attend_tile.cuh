// SPDX-License-Identifier: Apache-2.0
// What a CTA of attend works on. Grid: (ceil(q_len / rows), num_q_heads, batch), or of ragged batches
// (slots * 512 / rows, num_q_heads); the longest query tiles come first.
#pragma once

#include "args/attend_args.cuh"
#include "common/sequence.cuh"
#include "device/special.cuh"
#include "device/types.cuh"

template <class Config>
struct AttendTile {
  static constexpr int rows = Config::rows_per_warp * Config::warps;
  static constexpr int query_blocks = Config::dense || rows < Config::block_q ? 1 : rows / Config::block_q;

  s32 first_row;
  s32 head;
  s32 batch;

  // Of a CTA for which there is something to do.
  explicit SALE_DEVICE AttendTile(const AttendArgs &args) {
    if constexpr (Config::ragged) {
      const auto scheduled = ScheduledRows<rows>::again(args.ragged, static_cast<s32>(block_x()));
      first_row = scheduled.first_row;
      head = static_cast<s32>(block_y());
      batch = scheduled.batch;
    } else {
      first_row = static_cast<s32>(grid_x() - 1 - block_x()) * rows;
      head = static_cast<s32>(block_y());
      batch = static_cast<s32>(block_z());
    }
  }

  // Whether there is: grids of ragged batches have room for any lengths.
  static SALE_DEVICE bool exists(const AttendArgs &args) {
    if constexpr (Config::ragged) {
      const ScheduledRows<rows> scheduled(args.ragged, static_cast<s32>(block_x()));
      return scheduled.exists && scheduled.first_row < Sequence<Config>(args, scheduled.batch).q_len;
    }
    return true;
  }
};

// The mask rows of the CTA's query blocks. Holds nothing: what it needs is read again from parameters and special
// registers, so that it costs no registers in the main loop.
template <class Config>
class MaskRows {
public:
  SALE_DEVICE explicit MaskRows(const AttendArgs &args) : args_(args) {}

  // Of ragged batches the sequence's own: those behind may never have been written.
  SALE_DEVICE s32 words() const {
    if constexpr (Config::ragged) {
      const AttendTile<Config> tile(args_);
      return ceil_div(Sequence<Config>(args_, tile.batch).kv_len, 32 * Config::block_k);
    } else {
      return args_.mask_words;
    }
  }

  // Word `index` of query block `block` of the CTA; 0 past the end.
  SALE_DEVICE u32 word(int block, s32 index) const {
    const AttendTile<Config> tile(args_);
    const Sequence<Config> sequence(args_, tile.batch);
    const s32 q_blocks = ceil_div(sequence.q_len, Config::block_q);
    const s32 q_block = tile.first_row / Config::block_q + block;
    if (index >= words() || q_block >= q_blocks) {
      return 0;
    }
    const s64 row = sequence.mask_row(args_, args_.num_q_heads, tile.head) + q_block;
    return args_.mask[row * args_.mask_words + index];
  }

private:
  const AttendArgs &args_;
};
