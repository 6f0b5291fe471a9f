// SPDX-License-Identifier: Apache-2.0
#include "emulator/machine/shadow.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>

namespace sale::emulator {

namespace {

constexpr std::size_t base_alignment = 1024;

u8 *allocate(u32 bytes) {
  const std::size_t rounded = (bytes / base_alignment + 1) * base_alignment;
  auto *data = static_cast<u8 *>(std::aligned_alloc(base_alignment, rounded));
  if (data == nullptr) {
    throw std::bad_alloc();
  }
  return data;
}

} // namespace

SharedMemory::Shadow::Shadow(u32 shared_bytes, u32 shared_warps, Sites &its_sites)
    : bytes(shared_bytes), warps(shared_warps), sites(its_sites), data(allocate(shared_bytes), std::free),
      granules((bytes + 3) / 4), reads(new Read[std::size_t{warps} * granules.size()]) {}

void SharedMemory::Shadow::reset() {
  std::memset(data.get(), 0xff, bytes);
  std::fill(granules.begin(), granules.end(), Granule{});
  in_flight.clear();
  free_ids.clear();
  agent_times.clear();
}

u32 SharedMemory::Shadow::locate(const Access &access) const {
  const u32 offset = access.address - first_address;
  if (access.address < first_address || offset > bytes || access.bytes > bytes - offset) {
    fault(access.thread, access.instruction,
          fmt::format("Shared memory out of bounds: {} bytes at {:#x}; the CTA has [{:#x}, {:#x})", access.bytes,
                      access.address, first_address, first_address + bytes));
  }
  if (access.address % access.alignment != 0) {
    fault(access.thread, access.instruction,
          fmt::format("Shared memory misaligned: {} bytes at {:#x} need an address that is a multiple of {}",
                      access.bytes, access.address, access.alignment));
  }
  return offset;
}

void SharedMemory::Shadow::check_read(const Access &access, u32 index, u32 mask, Proxy proxy) const {
  const Granule &granule = granules[index];
  if (granule.writing) {
    fail_in_flight(access, index, true);
  }
  if ((granule.initialised & mask) != mask) {
    fault(
        access.thread, access.instruction,
        fmt::format("Shared memory read before anything was written there: {} bytes at {:#x}, of which those at "
                    "{:#x} are uninitialised",
                    access.bytes, access.address,
                    first_address + index * 4 + static_cast<u32>(std::countr_zero(mask & ~u32{granule.initialised}))));
  }
  const auto check = [&](const Write &write) {
    Warp &warp = access.thread.warp();
    if (!write.before(warp.clock())) {
      fail_race(access, index, "read", write.atomic ? "updated atomically" : "written", write.actor, write.site);
    }
    if (proxy == Proxy::async && !write.async && !write.before(warp.fenced())) {
      fault(access.thread, access.instruction,
            fmt::format("Shared memory read through the asynchronous proxy with no fence.proxy.async since it was "
                        "written: {} bytes at {:#x}, of which {:#x} was written by {}",
                        access.bytes, access.address, first_address + index * 4, name(write.actor, write.site)));
    }
  };
  if (!granule.split) {
    check(granule.write);
    return;
  }
  for (u32 byte = 0; byte < 4; ++byte) {
    if ((mask >> byte & 1U) != 0) {
      check(byte_writes[index * 4 + byte]);
    }
  }
}

void SharedMemory::Shadow::check_write(const Access &access, u32 index, u32 mask, bool atomic) {
  Granule &granule = granules[index];
  if (granule.writing) {
    fail_in_flight(access, index, true);
  }
  if (granule.reading != 0) {
    fail_in_flight(access, index, false);
  }
  const Clock &clock = access.thread.warp().clock();
  const u32 written = mask & granule.initialised;
  for (u32 byte = 0; byte < 4; ++byte) {
    if ((written >> byte & 1U) == 0) {
      continue;
    }
    const Write &write = write_of(index, byte);
    if (!(atomic && write.atomic) && !write.before(clock)) {
      fail_race(access, index, "written", write.atomic ? "updated atomically" : "written", write.actor, write.site);
    }
    if (!granule.split) {
      break;
    }
  }
  for (u32 readers = granule.readers; readers != 0; readers &= readers - 1) {
    const auto reader = static_cast<u32>(std::countr_zero(readers));
    Read &read = read_of(reader, index);
    if ((read.mask & mask) == 0) {
      continue;
    }
    if (read.time > clock.of(reader)) {
      fail_race(access, index, "written", "read", reader, read.site);
    }
    read.mask = static_cast<u16>(read.mask & ~mask); // whoever comes after this write comes after that read
    if (read.mask == 0) {
      granule.readers &= ~(1U << reader);
    }
  }
}

void SharedMemory::Shadow::record_write(const Write &write, u32 index, u32 mask) {
  Granule &granule = granules[index];
  const u32 others = granule.initialised & ~mask;
  granule.initialised |= mask & 0xfU;
  if (others == 0) {
    granule.write = write;
    granule.split = 0;
    return;
  }
  if (!granule.split) {
    if (granule.write == write) {
      return;
    }
    byte_writes.resize(granules.size() * 4);
    std::fill_n(byte_writes.begin() + std::ptrdiff_t{index} * 4, 4, granule.write);
    granule.split = 1;
  }
  for (u32 byte = 0; byte < 4; ++byte) {
    if ((mask >> byte & 1U) != 0) {
      byte_writes[index * 4 + byte] = write;
    }
  }
}

void SharedMemory::Shadow::land(const AsyncAccess &access, const u8 *source, Write write) {
  const u32 offset = access.address - first_address;
  write.site = sites.number(*in_flight[access.id].instruction);
  std::memcpy(data.get() + offset, source, access.bytes);
  each_granule(offset, access.bytes, [&](u32 index, u32 mask) {
    granules[index].writing = 0;
    record_write(write, index, mask);
  });
  end(access);
}

AsyncAccess SharedMemory::Shadow::begin(const Access &access, bool writes) {
  if (free_ids.empty()) {
    free_ids.push_back(static_cast<u32>(in_flight.size()));
    in_flight.emplace_back();
  }
  const u32 id = free_ids.back();
  free_ids.pop_back();
  const AsyncAccess begun{.address = access.address, .bytes = access.bytes, .id = id};
  in_flight[id] = {begun, &access.instruction, access.thread.warp().index(), writes};
  return begun;
}

void SharedMemory::Shadow::end(const AsyncAccess &access) {
  in_flight[access.id].instruction = nullptr;
  free_ids.push_back(access.id);
}

void SharedMemory::Shadow::fail_in_flight(const Access &access, u32 index, bool writes) const {
  const u32 address = first_address + index * 4;
  const auto found = std::find_if(in_flight.begin(), in_flight.end(), [&](const InFlight &each) {
    return each.instruction != nullptr && each.writes == writes && address + 4 > each.access.address &&
           address < each.access.address + each.access.bytes;
  });
  fault(access.thread, access.instruction,
        fmt::format("Shared memory accessed while an asynchronous operation of warp {} {} it, which nobody waited for: "
                    "{} bytes at {:#x}, in flight since {}",
                    found->warp, writes ? "writes" : "reads", access.bytes, access.address,
                    found->instruction->describe()));
}

void SharedMemory::Shadow::fail_race(const Access &access, u32 index, const char *doing, const char *did, Actor actor,
                                     Sites::Number site) const {
  fault(access.thread, access.instruction,
        fmt::format("Race on shared memory: {} bytes at {:#x} {} here, and {:#x} {} by {}, with no barrier between the "
                    "two",
                    access.bytes, access.address, doing, first_address + index * 4, did, name(actor, site)));
}

std::string SharedMemory::Shadow::name(Actor actor, Sites::Number site) const {
  const Instruction *instruction = sites.instruction(site);
  return (actor < warps ? fmt::format("warp {}", actor) : std::string("an asynchronous copy")) +
         (instruction == nullptr ? "" : " in " + instruction->describe());
}

} // namespace sale::emulator
