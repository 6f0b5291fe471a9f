// SPDX-License-Identifier: Apache-2.0
// select for the wgmma family: fp8 or int8 estimates of every (query row, key) outside the reference region, reduced at
// once to the bits of the key blocks that are kept (docs/numerics.md, sections 7 and 12). Persistent: one thread draws
// items and loads their tiles of K, warpgroups with Q in registers multiply, and no score leaves the registers.
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
#include "select/wgmma/code_ring.cuh"
#include "select/wgmma/code_rows.cuh"
#include "select/reference_bits.cuh"
#include "select/wgmma/select_units.cuh"

// Registers of a thread that computes and of one that does not, out of what the CTA has.
template <int consumers>
struct SelectRegisters;
template <>
struct SelectRegisters<1> {
  static constexpr int compute = 232;
  static constexpr int load = 40;
};
template <>
struct SelectRegisters<2> {
  static constexpr int compute = 232;
  static constexpr int load = 40;
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

// The thread that loads.
template <class Config>
class SelectLoader {
  using Layout = SelectLayout<Config>;

public:
  SALE_DEVICE explicit SelectLoader(const SelectWgmmaArgs &args)
      : args_(args), units_(args), items_(dynamic_shared_address()), codes_(dynamic_shared_address()) {}

  SALE_DEVICE void run() {
    while (true) {
      // Drawn no sooner than the last tiles of the item before are on their way: nobody holds work that others wait
      // for.
      const ItemTiles tiles = tiles_of(draw());
      items_.put(tiles);
      if (tiles.item.number < 0) {
        return;
      }
      const SelectKeys<Config> keys = units_.keys(tiles.item);
#pragma unroll 1 // few registers
      for (s32 tile = tiles.begin; tile < tiles.end; ++tile) {
        codes_.load(args_, keys, tile);
      }
    }
  }

private:
  // The number of the next item that has units, or of none.
  SALE_DEVICE s32 draw() {
    s32 number = draw_any();
    if constexpr (Config::ragged) {
      while (number < units_.items() && !units_.unit(units_.item(number), 0).exists) {
        number = draw_any();
      }
    }
    return number;
  }

  SALE_DEVICE s32 draw_any() {
    if (args_.next_item != nullptr) {
      return static_cast<s32>(add_global(args_.next_item, 1));
    }
    const s32 number = static_cast<s32>(block_x() + drawn_ * grid_x());
    drawn_ += 1;
    return number;
  }

  SALE_DEVICE ItemTiles tiles_of(s32 number) const {
    if (number >= units_.items()) {
      return {{-1, 0}, 0, 0};
    }
    const SelectItem item = units_.item(number);
    bool estimates = false; // some head of the group; all loads at once
    const s32 first_head = units_.kv_head(item) % (args_.num_q_heads / Config::gqa) * Config::gqa;
#pragma unroll
    for (int g = 0; g < Config::gqa; ++g) {
      estimates |= load_global_f32(args_.tau + first_head + g) != 0.0F;
    }
    const Sequence<Config> sequence(args_, item.sequence());
    // The first unit has the last query block: no other range ends after its own.
    Region<Config> region(units_.unit(item, 0).block, sequence, args_);
    if constexpr (Config::sliding) { // else all ranges start there
      region.first_estimated = Region<Config>(units_.first_block(item), sequence, args_).first_estimated;
    }
    if constexpr (Config::ragged) {
      estimates = estimates && sequence.kv_len >= args_.ragged.dense_below;
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
  using Rows = CodeRows<Config>;
  static constexpr int units = Config::units;
  static constexpr int blocks = Rows::blocks;
  static constexpr int tiles_per_word = 32 / blocks;
  // Warpgroups that have a query block in common.
  static constexpr int sharers = Config::block_q / 64 > units ? Config::block_q / 64 : 1;
  static constexpr int sharing_threads = sharers * 128;
  // Registers for D of two units, so that one is multiplied while the other is reduced.
  static constexpr int buffers = units > 1 && Config::consumers < 4 ? 2 : 1;
  // How many units' codes of the next item are loaded while this one is computed, so that no one waits for them: as
  // many as there are registers for beside D, the scales, what a unit has otherwise, and what ptxas needs in between.
  static constexpr int words = Rows::Decision::words;
  static constexpr int used_registers =
      buffers * words + Rows::Decision::scale_words + units * (7 + Rows::code_registers) + 10 + words / 8;
  static constexpr int spare_registers = SelectRegisters<Config::consumers>::compute - used_registers;
  static constexpr int ahead = spare_registers >= units * Rows::code_registers ? units
                               : spare_registers >= Rows::code_registers       ? 1
                                                                               : 0;
  static_assert(32 % blocks == 0, "a tile lies within one mask word");

public:
  SALE_DEVICE SelectWarpgroup(const SelectWgmmaArgs &args, s32 consumer)
      : args_(args), all_(args), items_(dynamic_shared_address()), codes_(dynamic_shared_address()),
        consumer_(consumer) {}

  SALE_DEVICE void run() {
    ItemTiles tiles = items_.take();
    Rows rows[units];
    load_ahead(rows, tiles.item);
    while (tiles.item.number >= 0) {
#pragma unroll
      for (int u = ahead; u < units; ++u) {
        rows[u].load_codes(args_, readable_unit(tiles.item, u), tiles.item.sequence());
      }
      Target targets[units];
      u32 below[units]; // of the current mask word, this thread's rows and keys: the newest tile uppermost
#pragma unroll
      for (int u = 0; u < units; ++u) {
        rows[u].settle();
        targets[u] = start(unit(tiles.item, u), tiles.item.sequence());
        below[u] = ~0U;
      }
      // The words written so far come before the bits below.
      barrier_sync(1 + static_cast<u32>(consumer_ / sharers), sharing_threads);

      // The next item is drawn while the last tiles of this one are computed.
      const s32 late = imax(tiles.begin, tiles.end - 2);
      compute(tiles.item, tiles.begin, late, rows, targets, below);
      const ItemTiles after = items_.take();
      Rows rows_after[units];
      load_ahead(rows_after, after.item);
      compute(tiles.item, late, tiles.end, rows, targets, below);
      const s32 rest = tiles.end % tiles_per_word;
      if (rest != 0) {
        add(targets, tiles.end / tiles_per_word, below, 32 - rest * blocks);
      }
#pragma unroll
      for (int u = 0; u < units; ++u) {
        rows[u] = rows_after[u];
      }
      tiles = after;
    }
  }

private:
  // Where the bits of one of the warpgroup's units go.
  struct Target {
    s32 row;   // of the mask
    s32 end;   // the key blocks estimated end here; 0 = nothing is
    s32 first; // sliding, parts: they start here
  };

  SALE_DEVICE SelectUnit<Config> unit(const SelectItem &item, int u) const {
    return all_.unit(item, consumer_ * units + u);
  }
  SALE_DEVICE bool has_rows(const SelectUnit<Config> &of, s32 sequence) const {
    return of.exists && of.first_row < Sequence<Config>(args_, sequence).q_len;
  }
  // Or one that exists: what is multiplied has to be codes and metadata, even where the bits go nowhere.
  SALE_DEVICE SelectUnit<Config> readable_unit(const SelectItem &item, int u) const {
    const SelectUnit<Config> of = unit(item, u);
    return has_rows(of, item.sequence()) ? of : all_.unit(item, 0);
  }

  SALE_DEVICE void load_ahead(Rows (&rows)[units], const SelectItem &item) const {
    if (item.number >= 0) {
#pragma unroll
      for (int u = 0; u < units; ++u) {
        const SelectUnit<Config> of = readable_unit(item, u);
        rows[u].load_thresholds(args_, of, item.sequence());
        if (u < ahead) {
          rows[u].load_codes(args_, of, item.sequence());
        } else {
          rows[u].touch_codes(args_, of, item.sequence());
        }
      }
    }
  }

  // Tiles [begin, end) of an item.
  SALE_DEVICE void compute(const SelectItem &item, s32 begin, s32 end, const Rows (&rows)[units],
                           const Target (&targets)[units], u32 (&below)[units]) {
    bool estimates = false;
#pragma unroll
    for (int u = 0; u < units; ++u) {
      estimates |= targets[u].end != 0;
    }
    if (!estimates) {
      for (s32 tile = begin; tile < end; ++tile) {
        codes_.wait();
        codes_.release();
      }
      return;
    }
    const SelectKeys<Config> keys = all_.keys(item);
    for (s32 tile = begin; tile < end; ++tile) {
      estimate(rows, keys, tile, below);
      if ((tile + 1) % tiles_per_word == 0) {
        add(targets, tile / tiles_per_word, below, 0);
#pragma unroll
        for (u32 &bits : below) {
          bits = ~0U;
        }
      }
    }
  }

  // Writes what does not depend on estimates.
  SALE_DEVICE Target start(const SelectUnit<Config> &of, s32 of_sequence) const {
    if (!of.exists) {
      return {0, 0, 0};
    }
    const Sequence<Config> sequence(args_, of_sequence);
    const Region<Config> region(of.block, sequence, args_);
    s32 row = of.block;
    f32 tau = 0.0F;
    if constexpr (Config::ragged) {
      row += static_cast<s32>(sequence.mask_row(args_, args_.num_q_heads, of.query_head));
      tau = load_global_f32(args_.tau + of.query_head);
    } else {
      row += of.query_head * ceil_div(args_.q_len, Config::block_q);
      tau = load_global_f32(args_.tau + of.query_head % args_.num_q_heads);
    }
    const bool dense = keeps_all<Config>(args_, sequence.kv_len, tau);
    if (sharers > 1 || of.first_row % Config::block_q == 0) { // once a query block
      write_reference_bits<sharing_threads>(args_.mask + static_cast<s64>(row) * args_.mask_words, args_.mask_words,
                                            region, dense, thread_index() % sharing_threads);
    }
    return {row, dense || !has_rows(of, of_sequence) ? 0 : region.end_estimated, region.first_estimated};
  }

  // Takes the next tile of the ring, which is `tile` of the KV head.
  SALE_DEVICE void estimate(const Rows (&rows)[units], const SelectKeys<Config> &keys, s32 tile, u32 (&below)[units]) {
    typename Rows::Products d[buffers];
    codes_.wait();
    rows[0].multiply(d[0], codes_);
    const typename Rows::Decision::Scales scales(codes_, args_, keys, tile);
#pragma unroll
    for (int u = 0; u < units; ++u) {
      if (buffers == 2 && u + 1 < units) {
        rows[u + 1].multiply(d[(u + 1) % buffers], codes_);
        wgmma_wait<1>();
      } else {
        wgmma_wait<0>();
      }
      if (u + 1 == units) {
        sync_warp();
        codes_.release();
      }
      const u32 bits = rows[u].below(d[u % buffers], scales);
      below[u] = below[u] >> blocks | (bits & bits >> 16) << (32 - blocks);
      if (buffers == 1 && u + 1 < units) {
        rows[u + 1].multiply(d[0], codes_);
      }
    }
  }

  SALE_DEVICE s32 first(const Target &target) const {
    return Config::sliding || Config::parts ? target.first : ceil_div(args_.sink, Config::block_k);
  }

  // Bits of `below` from `unused` on are those of a word's first blocks.
  SALE_DEVICE void add(const Target (&targets)[units], s32 word, const u32 (&below)[units], s32 unused) const {
#pragma unroll
    for (int u = 0; u < units; ++u) {
      // Bits of near blocks, where not causal, are set anyway.
      const u32 kept = reduce_or(~below[u]) >> unused & bits_between(first(targets[u]), targets[u].end, word);
      if (kept != 0 && lane_index() == 0) {
        or_global(args_.mask + static_cast<s64>(targets[u].row) * args_.mask_words + word, kept);
      }
    }
  }

  const SelectWgmmaArgs &args_;
  const SelectUnits<Config> all_;
  ItemRing<Config> items_;
  CodeRing<Config> codes_;
  s32 consumer_;
};

// Grid: as many CTAs as run at once.
template <class Config>
SALE_DEVICE void select(const SelectWgmmaArgs &args) {
  using Registers = SelectRegisters<Config::consumers>;
  CodeRing<Config>(dynamic_shared_address()).clear_scales();
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
