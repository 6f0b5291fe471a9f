// SPDX-License-Identifier: Apache-2.0
// What the CTAs of wgmma attend work on, one after another: as many adjacent blocks of 64 rows of a query head as there
// are consumers. As many KV heads at a time as stay in L2; of their items the longest first, with the heads of a GQA
// group side by side.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "common/region.cuh"
#include "common/seen_keys.cuh"
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
  s32 position; // key position of the first row

  SALE_DEVICE AttendItem(const AttendWgmmaArgs &args, s32 item) {
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
    kv_head = head / Config::gqa;
    position = args.kv_len - args.q_len + first_row;
  }

  static SALE_DEVICE s32 count(const AttendWgmmaArgs &args) {
    return args.batch * args.num_q_heads * ceil_div(args.q_len, rows);
  }

  // Keys that some row of consumer `consumer` sees.
  SALE_DEVICE s32 visible_keys(const AttendWgmmaArgs &args, int consumer) const {
    return first_row + consumer * 64 < args.q_len ? end_visible_key<Config>(position + consumer * 64 + 64, args.kv_len)
                                                  : 0;
  }

  // Keys before this one are seen by no row of consumer `consumer`.
  SALE_DEVICE s32 first_visible_key(const AttendWgmmaArgs &args, int consumer) const {
    return ::first_visible_key<Config>(position + consumer * 64, args.sliding_window);
  }

  // What the rows of consumer `consumer` see.
  SALE_DEVICE SeenKeys<Config, 64> seen(const AttendWgmmaArgs &args, int consumer) const {
    return {position + consumer * 64, args.kv_len, args.sliding_window};
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
