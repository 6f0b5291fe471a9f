// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/hooks.hpp"

#include "emulator/instructions/wgmma.hpp"
#include "emulator/instructions/wgmma_registers.hpp"
#include "emulator/machine/cta.hpp"
#include "emulator/machine/global_memory.hpp"

using namespace sale::emulator;

#include <chrono>

namespace {

// A thread's local memory is its stack, from here down to the frame that runs.
struct LocalMemory : State {
  const u8 *top = nullptr;
};

} // namespace

void sale_emulator_enter(const void *frame) {
  current_thread().state<LocalMemory>().top = static_cast<const u8 *>(frame);
}

void sale_emulator_execute(const Instruction *instruction, u64 *slot) {
  instruction->handler(current_thread(), *instruction, slot);
}

void sale_emulator_access(const Instruction *instruction, const void *address, u64 bytes, u32 alignment, bool write) {
  Thread &thread = current_thread();
  const auto *first = static_cast<const u8 *>(address);
  const auto *bottom = static_cast<const u8 *>(__builtin_frame_address(0));
  if (bytes == 0 || (first >= bottom && first + bytes <= thread.state<LocalMemory>().top)) {
    return;
  }
  SharedMemory &shared = thread.cta().shared();
  // Whatever lies near shared memory and in no allocation was meant to be in it.
  const bool near_shared = first + (1 << 20) > shared.base() && first < shared.base() + shared.bytes() + (1 << 20);
  const bool in_shared = first >= shared.base() && first < shared.base() + shared.bytes();
  if (!in_shared && (!near_shared || is_global(address, bytes))) {
    check_global(thread, *instruction, address, bytes, alignment, write);
    return;
  }
  const u32 offset = SharedMemory::first_address + static_cast<u32>(first - shared.base());
  const u32 size = static_cast<u32>(std::min<u64>(bytes, 0xffffffffU));
  if (write) {
    shared.write(thread, *instruction, offset, size, alignment);
  } else {
    shared.read(thread, *instruction, offset, size, alignment);
  }
}

void sale_emulator_reveal(const Instruction *wgmma, u32 *const *registers, u32 count) {
  Thread &thread = current_thread();
  thread.state<WgmmaRegisters>().reveal(thread, *wgmma, registers, count);
}

void sale_emulator_hide(u32 *const *registers, u32 count) {
  Thread &thread = current_thread();
  thread.state<WgmmaRegisters>().hide(registers, count, open_group(thread));
}

void *sale_emulator_shared() { return current_thread().cta().shared().base(); }

u64 sale_emulator_special(SpecialRegister which) {
  const Thread &thread = current_thread();
  const Cta &cta = thread.cta();
  const u32 lane = 1U << thread.lane();
  switch (which) {
  case SpecialRegister::tid: return thread.index();
  case SpecialRegister::ntid: return cta.threads();
  case SpecialRegister::ctaid_x: return cta.block_index().x;
  case SpecialRegister::ctaid_y: return cta.block_index().y;
  case SpecialRegister::ctaid_z: return cta.block_index().z;
  case SpecialRegister::nctaid_x: return cta.grid().x;
  case SpecialRegister::nctaid_y: return cta.grid().y;
  case SpecialRegister::nctaid_z: return cta.grid().z;
  case SpecialRegister::laneid: return thread.lane();
  case SpecialRegister::warpid: return thread.index() / 32;
  case SpecialRegister::nwarpid: return (cta.threads() + 31) / 32;
  case SpecialRegister::lanemask_eq: return lane;
  case SpecialRegister::lanemask_lt: return lane - 1;
  case SpecialRegister::lanemask_le: return lane - 1 + lane;
  case SpecialRegister::lanemask_gt: return ~(lane - 1 + lane);
  case SpecialRegister::lanemask_ge: return ~(lane - 1);
  case SpecialRegister::globaltimer:
    return static_cast<u64>(std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count());
  }
  return 0;
}
