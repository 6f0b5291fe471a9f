// SPDX-License-Identifier: Apache-2.0
// select for the wgmma family: fp8 estimates of every (query row, key) outside the reference region, reduced at once to
// the bits of the key blocks that are kept (docs/numerics.md, section 12). Persistent: one thread draws items and loads
// their tiles of K, warpgroups with Q in registers multiply, and no score leaves the registers.
#pragma once

#include "args/select_wgmma_args.cuh"
#include "common/estimator.cuh"
#include "common/mask_bits.cuh"
#include "common/region.cuh"
#include "device/memory.cuh"
#include "device/named_barrier.cuh"
#include "device/registers.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"
#include "select/code_ring.cuh"
#include "select/code_rows.cuh"
#include "select/reference_bits.cuh"
#include "select/select_units.cuh"

template <class Config>
using SelectRegion = Region<Config::block_q, Config::block_k>;

// The thread that loads.
template <class Config>
class SelectLoader {
  using Layout = SelectLayout<Config>;

public:
  SALE_DEVICE explicit SelectLoader(const SelectWgmmaArgs &args)
      : args_(args), units_(args), items_(dynamic_shared_address()), codes_(dynamic_shared_address()) {}

  SALE_DEVICE void run() {
    ItemTiles tiles = next();
    items_.put(tiles);
    while (tiles.item >= 0) {
      // Announced early, so that the others can fetch its rows of Q.
      const ItemTiles after = next();
      items_.put(after);
      const s32 kv_head = units_.kv_head(tiles.item);
      for (s32 tile = tiles.begin; tile < tiles.end; ++tile) {
        codes_.load(args_, kv_head, tile);
      }
      tiles = after;
    }
  }

private:
  SALE_DEVICE ItemTiles next() {
    s32 item = 0;
    if (args_.next_item == nullptr) {
      item = static_cast<s32>(block_x() + drawn_ * grid_x());
      drawn_ += 1;
    } else {
      item = static_cast<s32>(add_global_acq_rel(args_.next_item, 1));
    }
    if (item >= units_.items()) {
      return {-1, 0, 0};
    }
    // The first unit has the last query block, whose estimated keys include those of the others.
    const SelectRegion<Config> region(units_.unit(item, 0).block, args_.q_len, args_.kv_len, args_.sink, args_.window);
    bool estimates = false;
    for (s32 consumer = 0; consumer < Config::consumers; ++consumer) {
      const SelectUnit<Config> unit = units_.unit(item, consumer);
      estimates |= unit.exists && load_global_f32(args_.tau + unit.query_head % args_.num_q_heads) != 0.0F;
    }
    if (!estimates || region.first_estimated >= region.end_estimated) {
      return {item, 0, 0};
    }
    return {item, region.first_estimated * Config::block_k / Layout::keys,
            ceil_div(region.end_estimated * Config::block_k, Layout::keys)};
  }

  const SelectWgmmaArgs &args_;
  const SelectUnits<Config> units_;
  ItemRing<Config> items_;
  CodeRing<Config> codes_;
  u32 drawn_ = 0;
};

// A warpgroup that computes.
template <class Config>
class SelectWarpgroup {
  using Layout = SelectLayout<Config>;
  static constexpr int halves = Config::block_q / 64;
  static constexpr int blocks = CodeRows<Config>::blocks;
  static constexpr int tiles_per_word = 32 / blocks;
  // Registers for the next item's rows of Q too, so that no one waits for them.
  static constexpr bool ahead = Layout::row_bytes <= 128;
  static_assert(32 % blocks == 0, "a tile lies within one mask word");

public:
  SALE_DEVICE SelectWarpgroup(const SelectWgmmaArgs &args, s32 consumer)
      : args_(args), units_(args), items_(dynamic_shared_address()), codes_(dynamic_shared_address()),
        consumer_(consumer) {}

  SALE_DEVICE void run() {
    ItemTiles tiles = items_.take();
    CodeRows<Config> rows;
    load(rows, tiles.item);
    while (tiles.item >= 0) {
      const ItemTiles after = items_.take();
      CodeRows<Config> rows_after;
      rows.settle();
      if (ahead) {
        load(rows_after, after.item);
      }
      compute(tiles, rows);
      if (!ahead) {
        load(rows_after, after.item);
      }
      rows = rows_after;
      tiles = after;
    }
  }

private:
  SALE_DEVICE void load(CodeRows<Config> &rows, s32 item) const {
    if (item >= 0) {
      const SelectUnit<Config> unit = units_.unit(item, consumer_);
      if (unit.exists && unit.first_row < args_.q_len) {
        rows.load(args_, unit);
      }
    }
  }

  SALE_DEVICE void compute(const ItemTiles &tiles, const CodeRows<Config> &rows) {
    const SelectUnit<Config> unit = units_.unit(tiles.item, consumer_);
    const SelectRegion<Config> region(unit.block, args_.q_len, args_.kv_len, args_.sink, args_.window);
    u32 *const row =
        args_.mask +
        (static_cast<s64>(unit.query_head) * ceil_div(args_.q_len, Config::block_q) + unit.block) * args_.mask_words;
    bool estimates = false;
    if (unit.exists) {
      const bool dense = load_global_f32(args_.tau + unit.query_head % args_.num_q_heads) == 0.0F;
      write_reference_bits<128 * halves>(row, args_.mask_words, region, dense, thread_index() % (128 * halves));
      barrier_sync(1 + static_cast<u32>(consumer_ / halves), 128 * halves); // these words come before the bits below
      estimates = !dense && unit.first_row < args_.q_len;
    }
    if (!estimates) {
      for (s32 tile = tiles.begin; tile < tiles.end; ++tile) {
        codes_.wait();
        codes_.release();
      }
      return;
    }
    u32 bits = 0; // of the current mask word, this thread's rows and keys: the newest uppermost
    for (s32 tile = tiles.begin; tile < tiles.end; ++tile) {
      bits = bits >> blocks | rows.estimate(codes_) << (32 - blocks);
      if ((tile + 1) % tiles_per_word == 0) {
        add(row, region, tile / tiles_per_word, bits);
        bits = 0;
      }
    }
    const s32 rest = tiles.end % tiles_per_word;
    if (rest != 0) {
      add(row, region, tiles.end / tiles_per_word, bits >> (32 - rest * blocks));
    }
  }

  SALE_DEVICE void add(u32 *row, const SelectRegion<Config> &region, s32 word, u32 bits) const {
    const u32 of_warp = reduce_or(bits) & bits_between(region.first_estimated, region.end_estimated, word);
    if (of_warp != 0 && lane_index() == 0) {
      or_global(row + word, of_warp);
    }
  }

  const SelectWgmmaArgs &args_;
  const SelectUnits<Config> units_;
  ItemRing<Config> items_;
  CodeRing<Config> codes_;
  s32 consumer_;
};

// Registers of a thread that computes and of one that does not, out of what the CTA has.
template <int consumers>
struct SelectRegisters;
template <>
struct SelectRegisters<1> {
  static constexpr int compute = 232;
  static constexpr int load = 24;
};
template <>
struct SelectRegisters<2> {
  static constexpr int compute = 240;
  static constexpr int load = 24;
};
template <>
struct SelectRegisters<3> {
  static constexpr int compute = 160;
  static constexpr int load = 32;
};
template <>
struct SelectRegisters<4> {
  static constexpr int compute = 112;
  static constexpr int load = 32;
};

// Grid: as many CTAs as run at once.
template <class Config>
SALE_DEVICE void select(const SelectWgmmaArgs &args) {
  using Registers = SelectRegisters<Config::consumers>;
  if (thread_index() == 0) {
    CodeRing<Config>(dynamic_shared_address()).init();
    ItemRing<Config>(dynamic_shared_address()).init();
    mbarrier_init_fence();
  }
  sync_threads();
  // Shuffled, so that the compiler knows it to be the same in a whole warp: branches on it may then hold wgmma.
  const s32 warpgroup = static_cast<s32>(shuffle(thread_index() / 128, 0));
  if (warpgroup == Config::consumers) {
    decrease_registers<Registers::load>();
    if (thread_index() / 32 % 4 == 0 && elect_lane()) {
      SelectLoader<Config>(args).run();
    }
  } else {
    increase_registers<Registers::compute>();
    SelectWarpgroup<Config>(args, warpgroup).run();
  }
}
