// SPDX-License-Identifier: Apache-2.0
// What the planning warp tells the other warps of wgmma attend, in order: which item begins, which tile of keys comes
// next and whose it is, and that there is no more.
#pragma once

#include "attend/wgmma/ring.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

// A granule is a run of keys_per_copy keys, which share their mask bit. A tile is a few of them.
template <class Config>
struct Granule {
  static constexpr int keys = Config::keys_per_copy;
  static constexpr int per_tile = Config::keys_per_step / keys;
  static_assert(Config::keys_per_step % keys == 0 && per_tile <= 8, "whole granules, each a lane's to load");

  // Number of the granule and which consumers keep it; none = nobody may look.
  static constexpr int keep_bits = Config::consumers;
  static SALE_DEVICE u32 entry(s32 number, u32 keep) { return static_cast<u32>(number) << keep_bits | keep; }
  static SALE_DEVICE u32 keep(u32 entry) { return entry & ((1U << keep_bits) - 1); }
  static SALE_DEVICE s32 first_key(u32 entry) { return static_cast<s32>(entry >> keep_bits) * keys; }
  // What fills a tile up: past the last key, so that the copy engine writes zeros.
  static SALE_DEVICE u32 nothing(s32 kv_len) { return entry(ceil_div(kv_len, keys), 0); }
};

template <class Config>
struct Feed {
  // Whether a warp of its own loads the keys. Tiles of e4m3 are over so soon that one warp cannot plan and load them:
  // on an H100 it costs a tenth of sparse calls. Those of 16 bits are 2 % faster with one warp less.
  static constexpr bool loads_apart = Config::fp8;
  static constexpr u32 readers = Config::consumers * 4 + (loads_apart ? 2 : 1); // warps, of tickets
};

class Ticket {
public:
  SALE_DEVICE explicit Ticket(u32 word) : word_(word) {}

  static SALE_DEVICE Ticket begin(s32 item) { return Ticket(kind_begin | static_cast<u32>(item) << 2); }
  static SALE_DEVICE Ticket stop() { return Ticket(kind_stop); }
  // users, masked: a bit for each consumer that computes the tile, and that must look at the granules to do so.
  static SALE_DEVICE Ticket tile(const RingPlace &place, u32 users, u32 masked) {
    return Ticket(kind_tile | users << 2 | masked << 6 | place.index << 10 | place.parity << 14);
  }

  SALE_DEVICE u32 word() const { return word_; }
  SALE_DEVICE bool is_tile() const { return (word_ & 3U) == kind_tile; }
  SALE_DEVICE bool is_stop() const { return (word_ & 3U) == kind_stop; }
  SALE_DEVICE s32 item() const { return static_cast<s32>(word_ >> 2); }
  SALE_DEVICE u32 users() const { return word_ >> 2 & 15U; }
  SALE_DEVICE bool is_for(u32 consumer) const { return (word_ >> (2 + consumer) & 1U) != 0; }
  SALE_DEVICE bool is_masked(u32 consumer) const { return (word_ >> (6 + consumer) & 1U) != 0; }
  // Of its keys in their ring, and of its values in theirs.
  SALE_DEVICE RingPlace place() const { return {word_ >> 10 & 15U, word_ >> 14 & 1U}; }

private:
  static constexpr u32 kind_tile = 0;
  static constexpr u32 kind_begin = 1;
  static constexpr u32 kind_stop = 2;

  u32 word_;
};

// Every warp but the planning one reads every ticket.
template <class Config>
class TicketRing {
  static constexpr int depth = 8;
  static constexpr int entries_offset = 16;
  static constexpr int slot_bytes = entries_offset + RoundUp<Granule<Config>::per_tile * 4, 16>::result;
  using Slots = Ring<depth, slot_bytes>;

public:
  static constexpr int data_bytes = Slots::data_bytes;
  static constexpr int barrier_bytes = Slots::barrier_bytes;

  SALE_DEVICE TicketRing(u32 data, u32 barriers) : slots_(data, barriers) {}

  SALE_DEVICE void init() const { slots_.init(Feed<Config>::readers); }

  // By the planning warp; lane g brings the entry of granule g.
  SALE_DEVICE void put(Ticket ticket, u32 entry) {
    slots_.wait_empty(at());
    const u32 lane = lane_index();
    if (lane < Granule<Config>::per_tile) {
      store_shared_4(slots_.data(at()) + entries_offset + lane * 4, entry);
    }
    if (lane == 0) {
      store_shared_4(slots_.data(at()), ticket.word());
    }
    sync_warp();
    if (lane == 0) {
      mbarrier_arrive(slots_.full(at()));
    }
    count_ += 1;
  }

  // By whole warps: the next ticket, readable until release().
  SALE_DEVICE Ticket read() const {
    slots_.wait_full(at());
    // Shuffled, so that the compiler knows it to be the same in a whole warp.
    return Ticket(shuffle(load_shared_4(slots_.data(at())), 0));
  }
  SALE_DEVICE u32 entry(u32 granule) const { return load_shared_4(slots_.data(at()) + entries_offset + granule * 4); }
  SALE_DEVICE void release() {
    slots_.release(at());
    count_ += 1;
  }

private:
  SALE_DEVICE RingPlace at() const { return {count_ % depth, count_ / depth % 2}; }

  Slots slots_;
  u32 count_ = 0; // one register, where a place takes two
};
