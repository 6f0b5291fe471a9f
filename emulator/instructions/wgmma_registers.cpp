// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/wgmma_registers.hpp"

#include "emulator/machine/thread.hpp"

#include <algorithm>

namespace sale::emulator {

namespace {

constexpr u32 unknown = 0x7fff7fffU; // NaN as f32 and as two f16, large as s32

} // namespace

void WgmmaRegisters::reveal(Thread &thread, const Instruction &instruction, u32 *address, u32 value) {
  if (*address != unknown) {
    fault(thread, instruction, "an accumulator was written while its wgmma was in flight");
  }
  *address = value;
}

void WgmmaRegisters::reveal(Thread &thread, const Instruction &wgmma, u32 *const *registers, u32 count) {
  u32 *const *end = registers + count;
  for (std::size_t h = 0; h < hidden_.size();) {
    Hidden &hidden = hidden_[h];
    if (std::equal(hidden.registers.begin(), hidden.registers.end(), registers, end)) { // as nearly always
      for (u32 i = 0; i < count; ++i) {
        reveal(thread, wgmma, hidden.registers[i], hidden.values[i]);
      }
      hidden_.erase(hidden_.begin() + static_cast<std::ptrdiff_t>(h));
      continue;
    }
    for (std::size_t i = hidden.registers.size(); i-- > 0;) {
      if (std::find(registers, end, hidden.registers[i]) != end) {
        reveal(thread, wgmma, hidden.registers[i], hidden.values[i]);
        hidden.registers.erase(hidden.registers.begin() + static_cast<std::ptrdiff_t>(i));
        hidden.values.erase(hidden.values.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
    ++h;
  }
}

void WgmmaRegisters::hide(u32 *const *registers, u32 count, u64 group) {
  Hidden hidden{{registers, registers + count}, std::vector<u32>(count), group};
  for (u32 i = 0; i < count; ++i) {
    hidden.values[i] = *registers[i];
    *registers[i] = unknown;
  }
  hidden_.push_back(std::move(hidden));
}

void WgmmaRegisters::complete(Thread &thread, const Instruction &wait, u64 end) {
  for (const Hidden &hidden : hidden_) {
    for (std::size_t i = 0; hidden.group < end && i < hidden.registers.size(); ++i) {
      reveal(thread, wait, hidden.registers[i], hidden.values[i]);
    }
  }
  std::erase_if(hidden_, [&](const Hidden &hidden) { return hidden.group < end; });
}

} // namespace sale::emulator
