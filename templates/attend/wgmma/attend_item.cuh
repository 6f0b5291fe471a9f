// SPDX-License-Identifier: Apache-2.0
// What the CTAs of wgmma attend work on, one after another: as many adjacent blocks of 64 rows of a query head as there
// are consumers. As many KV heads at a time as stay in L2; of their items the longest first, with the heads of a GQA
// group side by side. Of ragged batches the sequences kernel has put all row blocks in order, the longest first.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "common/region.cuh"
#include "common/seen_keys.cuh"
#include "common/sequence.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

template <class Config>
struct AttendItem {
  static constexpr int rows = 64 * Config::consumers;
  static constexpr s64 l2_bytes = 32 << 20; // for the keys and values of the heads at work

  s32 first_row;
  s32 head;
  s32 kv_head;
  s32 batch;
  s32 position;              // key position of the first row
  Sequence<Config> sequence; // ragged: plain lengths are read where they are needed, rather than kept

  SALE_DEVICE AttendItem(const AttendWgmmaArgs &args, s32 item) : sequence(args, 0) {
    if constexpr (Config::ragged) { // of which nothing may be left
      const s32 tiles = imax(1, scheduled_tiles(args));
      const s32 kv_heads = args.num_q_heads / Config::gqa;
      const s64 bytes =
          static_cast<s64>(imax(1, args.ragged.counts->kv_tokens)) * (2 * (Config::head_dim + Config::v_head_dim));
      const s32 group = imin(imax(1, static_cast<s32>(l2_bytes / bytes)), kv_heads);
      const s32 first = item / (group * Config::gqa * tiles) * group; // KV heads of earlier groups
      const s32 heads = imin(group, kv_heads - first) * Config::gqa;
      const s32 rest = item - first * Config::gqa * tiles;
      const ScheduledRows<rows> scheduled(args.ragged, rest / heads);
      first_row = scheduled.first_row;
      batch = scheduled.batch;
      sequence = Sequence<Config>(args, batch);
      head = first * Config::gqa + rest % heads;
      position = sequence.position + first_row;
    } else {
      const s32 row_tiles = ceil_div(args.q_len, rows);
      const s32 kv_heads = args.num_q_heads / Config::gqa;
      const s64 bytes = static_cast<s64>(args.kv_len) * (2 * (Config::head_dim + Config::v_head_dim));
      const s32 group = imin(imax(1, static_cast<s32>(l2_bytes / bytes)), args.batch * kv_heads);
      const s32 first = item / (group * Config::gqa * row_tiles) * group; // KV heads of earlier groups
      const s32 heads = imin(group, args.batch * kv_heads - first) * Config::gqa;
      const s32 rest = item - first * Config::gqa * row_tiles;
      first_row = (row_tiles - 1 - rest / heads) * rows;
      const s32 any_head = first * Config::gqa + rest % heads; // of all batches
      batch = any_head / args.num_q_heads;
      head = any_head - batch * args.num_q_heads;
      position = args.kv_len - args.q_len + first_row;
    }
    kv_head = head / Config::gqa;
  }

  static SALE_DEVICE s32 count(const AttendWgmmaArgs &args) {
    if constexpr (Config::ragged) {
      return args.num_q_heads * scheduled_tiles(args);
    } else {
      return args.batch * args.num_q_heads * ceil_div(args.q_len, rows);
    }
  }

  // Ragged: units of the schedule have more row blocks than the last rows of a sequence need.
  SALE_DEVICE bool exists() const { return first_row < sequence.q_len; }

  // Ragged: rows past the sequence's last, which the tile of queries has from another one or from nobody.
  SALE_DEVICE bool has_foreign_rows(int consumer) const { return first_row + consumer * 64 + 64 > sequence.q_len; }

  // Of the sequence.
  SALE_DEVICE s32 q_len(const AttendWgmmaArgs &args) const { return Config::ragged ? sequence.q_len : args.q_len; }
  SALE_DEVICE s32 kv_len(const AttendWgmmaArgs &args) const { return Config::ragged ? sequence.kv_len : args.kv_len; }

  // First row of the head in lse.
  SALE_DEVICE s64 lse_row(const AttendWgmmaArgs &args) const {
    if constexpr (Config::ragged) {
      return sequence.lse_row(args, args.num_q_heads, head);
    } else {
      return (static_cast<s64>(batch) * args.num_q_heads + head) * args.q_len;
    }
  }

  // First element of the head in out.
  SALE_DEVICE s64 out_element(const AttendWgmmaArgs &args) const {
    if constexpr (Config::ragged) {
      return sequence.query_element(args, args.out, head);
    } else {
      return batch * args.out.stride_batch + head * args.out.stride_head;
    }
  }

  // First row of the head in what the workspace has of queries.
  SALE_DEVICE s64 query_row(const AttendWgmmaArgs &args) const {
    if constexpr (Config::ragged) {
      return sequence.query_row(args, args.num_q_heads, head);
    } else {
      return (static_cast<s64>(batch) * args.num_q_heads + head) * (ceil_div(args.q_len, 128) * 128);
    }
  }

  // First row of the head in the mask.
  SALE_DEVICE s64 mask_row(const AttendWgmmaArgs &args, s32 q_blocks) const {
    if constexpr (Config::ragged) {
      return sequence.mask_row(args, args.num_q_heads, head);
    } else {
      return (static_cast<s64>(batch) * args.num_q_heads + head) * q_blocks;
    }
  }

  // Of the first row in the map of queries.
  SALE_DEVICE s32 first_token(const AttendWgmmaArgs &args) const {
    return Config::ragged ? sequence.entry(args).q_start + first_row : first_row;
  }
  SALE_DEVICE s32 query_batch(const AttendWgmmaArgs &args) const {
    return Config::ragged ? batch * args.ragged.q_batch : batch;
  }

  // Keys that some row of consumer `consumer` sees.
  SALE_DEVICE s32 visible_keys(const AttendWgmmaArgs &args, int consumer) const {
    const s32 visible = first_row + consumer * 64 < q_len(args)
                            ? end_visible_key<Config>(position + consumer * 64 + 64, kv_len(args))
                            : 0;
    return Config::ragged ? imax(0, visible) : visible; // rows may come before all keys
  }

  // Keys before this one are seen by no row of consumer `consumer`.
  SALE_DEVICE s32 first_visible_key(const AttendWgmmaArgs &args, int consumer) const {
    return ::first_visible_key<Config>(position + consumer * 64, args.sliding_window);
  }

  // What the rows of consumer `consumer` see.
  SALE_DEVICE SeenKeys<Config, 64> seen(const AttendWgmmaArgs &args, int consumer) const {
    return {position + consumer * 64, kv_len(args), args.sliding_window};
  }

private:
  // Row blocks of all sequences.
  static SALE_DEVICE s32 scheduled_tiles(const AttendWgmmaArgs &args) {
    return args.ragged.counts->row_units * ScheduledRows<rows>::per_unit;
  }
};

// The items of one CTA, by one warp. The first is its own number; without a counter every other round goes backwards,
// so that nobody always gets the longest.
class ItemSource {
public:
  SALE_DEVICE explicit ItemSource(const AttendWgmmaArgs &args) : next_item_(args.next_item) {}

  SALE_DEVICE s32 first() const { return static_cast<s32>(block_x()); }

  // Asks for the next one.
  SALE_DEVICE void draw() {
    round_ += 1;
    if (next_item_ == nullptr) {
      drawn_ = round_ * grid_x() + (round_ % 2 == 0 ? block_x() : grid_x() - 1 - block_x());
    } else if (lane_index() == 0) {
      drawn_ = grid_x() + add_global(next_item_, 1);
    }
  }
  SALE_DEVICE s32 drawn() const { return static_cast<s32>(shuffle(drawn_, 0)); }

private:
  u32 *next_item_;
  u32 round_ = 0;
  u32 drawn_ = 0;
};
