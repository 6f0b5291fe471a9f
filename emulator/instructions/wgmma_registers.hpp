// SPDX-License-Identifier: Apache-2.0
// The accumulators of wgmmas in flight: a thread that reads one before the wgmma.wait_group that covers it finds NaN.
#pragma once

#include "emulator/machine/state.hpp"
#include "emulator/ptx/instruction.hpp"

#include <vector>

namespace sale::emulator {

/// Of a thread. A register is the variable, in the thread's local memory, that the source names as accumulator.
class WgmmaRegisters : public State {
public:
  /// Before a wgmma: registers in flight hold their values again, for it to go on from.
  void reveal(Thread &thread, const Instruction &wgmma, u32 *const *registers, u32 count);
  /// After a wgmma of the warp's group `group`: what the registers hold is to come.
  void hide(u32 *const *registers, u32 count, u64 group);
  /// Groups before `end` are complete: their registers hold their values.
  void complete(Thread &thread, const Instruction &wait, u64 end);

private:
  struct Hidden {
    std::vector<u32 *> registers;
    std::vector<u32> values;
    u64 group = 0;
  };
  static void reveal(Thread &thread, const Instruction &instruction, u32 *address, u32 value);

  std::vector<Hidden> hidden_;
};

} // namespace sale::emulator
