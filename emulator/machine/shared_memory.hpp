// SPDX-License-Identifier: Apache-2.0
// A CTA's shared memory, every access checked: range, alignment, initialised, not in flight, and ordered after the
// conflicting accesses of other warps (happens-before, by vector clocks; 4-byte granules).
#pragma once

#include "emulator/machine/clock.hpp"
#include "emulator/machine/synchronization.hpp"
#include "emulator/machine/thread.hpp"

#include <memory>

namespace sale::emulator {

class Sites;

/// How memory was written: fence.proxy.async must stand between a generic write and an asynchronous-proxy read,
/// anywhere on the path of barriers that leads from one to the other.
enum class Proxy { generic, async };

/// A range that an asynchronous operation owns until it completes.
struct AsyncAccess {
  u32 address = 0;
  u32 bytes = 0;
  u32 id = 0;
};

/// Addresses are those of the shared window: (generic pointer - base()) + first_address.
class SharedMemory {
public:
  /// The shared window's first byte that a kernel owns; below is the system's, so that a null address faults.
  static constexpr u32 first_address = 1024;

  SharedMemory(u32 bytes, u32 warps, Sites &sites);
  ~SharedMemory();

  u32 bytes() const;
  u8 *base(); ///< What a generic pointer to the first byte is; 1024-byte aligned.

  /// The bytes to read or to write, after all checks; `alignment` in bytes.
  const u8 *read(Thread &thread, const Instruction &instruction, u32 address, u32 bytes, u32 alignment,
                 Proxy proxy = Proxy::generic);
  u8 *write(Thread &thread, const Instruction &instruction, u32 address, u32 bytes, u32 alignment);
  /// As read and write together, for atomics: two atomics never race with each other.
  u8 *update(Thread &thread, const Instruction &instruction, u32 address, u32 bytes, u32 alignment);

  /// An asynchronous copy into shared memory. begin checks, poisons the range and marks it in flight: until it lands
  /// every access faults. land_for: the copy is this warp's own write, now (cp.async). land_on: whoever acquires
  /// `completion` may read (copies that complete on an mbarrier, whose agent is `agent`).
  AsyncAccess begin_write(Thread &thread, const Instruction &instruction, u32 address, u32 bytes, u32 alignment);
  void land_for(Warp &warp, const AsyncAccess &access, const u8 *data);
  void land_on(Synchronization &completion, Actor agent, const AsyncAccess &access, const u8 *data, Proxy proxy);

  /// An asynchronous read (wgmma, bulk store). begin checks like read; until end, every write to the range faults.
  /// peek gives the bytes meanwhile; end counts as a read by the warp, now.
  AsyncAccess begin_read(Thread &thread, const Instruction &instruction, u32 address, u32 bytes, u32 alignment,
                         Proxy proxy);
  const u8 *peek(const AsyncAccess &access);
  void end_read(Warp &warp, const AsyncAccess &access);

  /// fence.proxy.async of this warp: what came before it, its own writes and those it acquired, may be read by the
  /// asynchronous proxy of whoever comes after it.
  void fence_async_proxy(Warp &warp);

  /// Counts the 4-byte bank conflicts of one warp-wide access of `bytes` per lane, for the statistics: how many more
  /// cycles it takes than its size alone.
  void count_conflicts(const Instruction &instruction, const u32 *addresses, int lanes, u32 bytes);

  /// For a new CTA: uninitialised, poisoned with 0xff.
  void reset();
  /// Fails when an asynchronous access has not ended.
  void check_idle(Cta &cta) const;

private:
  struct Shadow;
  std::unique_ptr<Shadow> shadow_;
};

} // namespace sale::emulator
