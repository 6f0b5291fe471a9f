// SPDX-License-Identifier: Apache-2.0
#include "emulator/machine/shared_memory.hpp"

#include "emulator/machine/describe.hpp"
#include "emulator/machine/shadow.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace sale::emulator {

namespace {

Write write_by(const Warp &warp, Sites::Number site) {
  return {.time = warp.now(), .site = site, .actor = static_cast<u16>(warp.index() & 0x3fffU)};
}

} // namespace

SharedMemory::SharedMemory(u32 bytes, u32 warps, Sites &sites)
    : shadow_(std::make_unique<Shadow>(bytes, warps, sites)) {}
SharedMemory::~SharedMemory() = default;

u32 SharedMemory::bytes() const { return shadow_->bytes; }
u8 *SharedMemory::base() { return shadow_->data.get(); }
void SharedMemory::reset() { shadow_->reset(); }

const u8 *SharedMemory::read(Thread &thread, const Instruction &instruction, u32 address, u32 bytes, u32 alignment,
                             Proxy proxy) {
  Shadow &s = *shadow_;
  const Access access{thread, instruction, address, bytes, alignment};
  const u32 offset = s.locate(access);
  const u32 warp = thread.warp().index();
  const Read now{.time = thread.warp().now(), .site = s.sites.number(instruction), .mask = 0};
  Write known; // ordered before this read; neighbours mostly have the same
  Shadow::each_granule(offset, bytes, [&](u32 index, u32 mask) {
    const Granule &granule = s.granules[index];
    if (granule.initialised != 0xfU || granule.split || granule.writing || granule.write != known) {
      s.check_read(access, index, mask, proxy);
      known = granule.split ? known : granule.write;
    }
    s.record_read(warp, now, index, mask);
  });
  return s.data.get() + offset;
}

u8 *SharedMemory::write(Thread &thread, const Instruction &instruction, u32 address, u32 bytes, u32 alignment) {
  Shadow &s = *shadow_;
  const Access access{thread, instruction, address, bytes, alignment};
  const u32 offset = s.locate(access);
  const Write write = write_by(thread.warp(), s.sites.number(instruction));
  Shadow::each_granule(offset, bytes, [&](u32 index, u32 mask) {
    s.check_write(access, index, mask, false);
    s.record_write(write, index, mask);
  });
  return s.data.get() + offset;
}

u8 *SharedMemory::update(Thread &thread, const Instruction &instruction, u32 address, u32 bytes, u32 alignment) {
  Shadow &s = *shadow_;
  const Access access{thread, instruction, address, bytes, alignment};
  const u32 offset = s.locate(access);
  Write write = write_by(thread.warp(), s.sites.number(instruction));
  write.atomic = 1;
  Shadow::each_granule(offset, bytes, [&](u32 index, u32 mask) {
    s.check_write(access, index, mask, true);
    if ((s.granules[index].initialised & mask) != mask) {
      s.check_read(access, index, mask, Proxy::generic); // says that it is uninitialised
    }
    s.record_write(write, index, mask);
  });
  return s.data.get() + offset;
}

AsyncAccess SharedMemory::begin_write(Thread &thread, const Instruction &instruction, u32 address, u32 bytes,
                                      u32 alignment) {
  Shadow &s = *shadow_;
  const Access access{thread, instruction, address, bytes, alignment};
  const u32 offset = s.locate(access);
  Shadow::each_granule(offset, bytes, [&](u32 index, u32 mask) { s.check_write(access, index, mask, false); });
  Shadow::each_granule(offset, bytes, [&](u32 index, u32) { s.granules[index].writing = 1; });
  std::memset(s.data.get() + offset, 0xff, bytes);
  return s.begin(access, true);
}

void SharedMemory::land_for(Warp &warp, const AsyncAccess &access, const u8 *data) {
  shadow_->land(access, data, write_by(warp, 0));
}

void SharedMemory::land_on(Synchronization &completion, Actor agent, const AsyncAccess &access, const u8 *data,
                           Proxy proxy) {
  const u32 index = agent - shadow_->warps;
  if (index >= shadow_->agent_times.size()) {
    shadow_->agent_times.resize(index + 1);
  }
  const u32 now = ++shadow_->agent_times[index];
  completion.clock().set(agent, now);
  shadow_->land(access, data,
                {.time = now,
                 .actor = static_cast<u16>(agent & 0x3fffU),
                 .async = static_cast<u16>(proxy == Proxy::async ? 1U : 0U)});
}

AsyncAccess SharedMemory::begin_read(Thread &thread, const Instruction &instruction, u32 address, u32 bytes,
                                     u32 alignment, Proxy proxy) {
  Shadow &s = *shadow_;
  const Access access{thread, instruction, address, bytes, alignment};
  const u32 offset = s.locate(access);
  Shadow::each_granule(offset, bytes, [&](u32 index, u32 mask) {
    s.check_read(access, index, mask, proxy);
    ++s.granules[index].reading;
  });
  return s.begin(access, false);
}

const u8 *SharedMemory::peek(const AsyncAccess &access) {
  return shadow_->data.get() + (access.address - first_address);
}

void SharedMemory::end_read(Warp &warp, const AsyncAccess &access) {
  Shadow &s = *shadow_;
  const Read now{.time = warp.now(), .site = s.sites.number(*s.in_flight[access.id].instruction), .mask = 0};
  Shadow::each_granule(access.address - first_address, access.bytes, [&](u32 index, u32 mask) {
    --s.granules[index].reading;
    s.record_read(warp.index(), now, index, mask);
  });
  s.end(access);
}

void SharedMemory::fence_async_proxy(Warp &warp) {
  warp.fenced().join(warp.clock());
  warp.advance(); // so that writes after the fence are told from those before
}

void SharedMemory::count_conflicts(const Instruction &instruction, const u32 *addresses, int lanes, u32 bytes) {
  // Accesses are powers of two and aligned, so that a lane's words lie in banks of their own: 2 make one of 8 bytes.
  const int shift = std::countr_zero(std::max(bytes, 4U));
  const u32 banks = 128U >> shift;
  const int lanes_per_cycle = static_cast<int>(banks);
  u64 conflicts = 0;
  for (int first = 0; first < lanes; first += lanes_per_cycle) {
    std::array<std::array<u32, 32>, 32> met; // by bank: the different units of it
    std::array<u32, 32> count{};
    u32 worst = 1;
    const int end = std::min(first + lanes_per_cycle, lanes);
    for (int lane = first; lane < end; ++lane) {
      const u32 index = addresses[lane] >> shift;
      u32 *const begin = met[index & (banks - 1)].data();
      u32 &size = count[index & (banks - 1)];
      if (std::find(begin, begin + size, index) == begin + size) {
        begin[size++] = index;
        worst = std::max(worst, size);
      }
    }
    conflicts += worst - 1;
  }
  shadow_->sites.count_access(instruction, conflicts);
}

void SharedMemory::check_idle(Cta &cta) const {
  for (const Shadow::InFlight &each : shadow_->in_flight) {
    if (each.instruction != nullptr) {
      cta.fail(fmt::format("Shared memory [{:#x}, {:#x}) is still being {} asynchronously when {} ended\n  since {}\n  "
                           "by warp {}",
                           each.access.address, each.access.address + each.access.bytes,
                           each.writes ? "written" : "read", describe_cta(cta), each.instruction->describe(),
                           each.warp));
    }
  }
}

} // namespace sale::emulator
