// SPDX-License-Identifier: Apache-2.0
// What is known about every byte of shared memory: who wrote it, who read it since, and what is in flight.
#pragma once

#include "emulator/machine/cta.hpp"
#include "emulator/machine/shared_memory.hpp"
#include "emulator/machine/sites.hpp"

#include <vector>

namespace sale::emulator {

/// A write that happened: at `time` of the actor's clock.
struct Write {
  u32 time = 0; ///< 0: before the CTA started
  Sites::Number site = 0;
  u16 actor : 14 = 0;
  u16 async : 1 = 0; ///< through the asynchronous proxy
  u16 atomic : 1 = 0;

  bool before(const Clock &clock) const { return time <= clock.of(actor); }
  bool operator==(const Write &) const = default;
};

/// The last read of a granule by one warp. Bytes read at different times count as read at the last.
struct Read {
  u32 time;
  Sites::Number site;
  u16 mask; ///< of bytes
};

/// Four bytes.
struct Granule {
  Write write;     ///< The last; of all initialised bytes, unless split.
  u32 readers = 0; ///< Warps that read since; their Read records are valid.
  u16 reading = 0; ///< Asynchronous reads in flight.
  u8 initialised : 4 = 0;
  u8 split : 1 = 0;   ///< Each byte has a write of its own.
  u8 writing : 1 = 0; ///< A copy is in flight.
};

/// One access of a thread, under check.
struct Access {
  Thread &thread;
  const Instruction &instruction;
  u32 address;
  u32 bytes;
  u32 alignment;
};

struct SharedMemory::Shadow {
  struct InFlight {
    AsyncAccess access;
    const Instruction *instruction = nullptr; ///< Null: this place is free.
    u32 warp = 0;
    bool writes = false;
  };

  Shadow(u32 shared_bytes, u32 shared_warps, Sites &its_sites);
  void reset();

  u32 locate(const Access &access) const; ///< Offset from base, or a fault.
  template <class Visit>
  static void each_granule(u32 offset, u32 count, const Visit &visit); ///< visit(index, mask of its bytes)

  void check_read(const Access &access, u32 index, u32 mask, Proxy proxy) const;
  void check_write(const Access &access, u32 index, u32 mask, bool atomic);
  void record_read(u32 warp, const Read &now, u32 index, u32 mask) {
    Granule &granule = granules[index];
    const u32 bit = 1U << warp;
    Read &read = read_of(warp, index);
    const u32 before = (granule.readers & bit) != 0 ? read.mask : 0U;
    read = {.time = now.time, .site = now.site, .mask = static_cast<u16>(before | mask)};
    granule.readers |= bit;
  }
  void record_write(const Write &write, u32 index, u32 mask);
  void land(const AsyncAccess &access, const u8 *data, Write write);

  AsyncAccess begin(const Access &access, bool writes);
  void end(const AsyncAccess &access);

  const Write &write_of(u32 index, u32 byte) const {
    const Granule &granule = granules[index];
    return granule.split ? byte_writes[index * 4 + byte] : granule.write;
  }
  Read &read_of(u32 warp, u32 index) { return reads[std::size_t{warp} * granules.size() + index]; }

  [[noreturn]] void fail_in_flight(const Access &access, u32 index, bool writes) const;
  [[noreturn]] void fail_race(const Access &access, u32 index, const char *doing, const char *did, Actor actor,
                              Sites::Number site) const;
  std::string name(Actor actor, Sites::Number site) const;

  u32 bytes;
  u32 warps;
  Sites &sites;
  std::unique_ptr<u8, void (*)(void *)> data;
  std::vector<Granule> granules;
  std::vector<Write> byte_writes; ///< Four per granule; made when the first granule is split.
  std::unique_ptr<Read[]> reads;  ///< By warp, then granule; not initialised: Granule::readers says which are valid.
  std::vector<InFlight> in_flight;
  std::vector<u32> free_ids;
  std::vector<u32> agent_times;
};

template <class Visit>
void SharedMemory::Shadow::each_granule(u32 offset, u32 count, const Visit &visit) {
  const u32 end = offset + count;
  for (u32 start = offset / 4 * 4; start < end; start += 4) {
    u32 mask = 0xfU;
    if (start < offset) {
      mask &= 0xfU << (offset - start);
    }
    if (start + 4 > end) {
      mask &= 0xfU >> (start + 4 - end);
    }
    visit(start / 4, mask & 0xfU);
  }
}

} // namespace sale::emulator
