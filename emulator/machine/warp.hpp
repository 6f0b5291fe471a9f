// SPDX-License-Identifier: Apache-2.0
// A warp: where its lanes meet for a collective.
#pragma once

#include "emulator/machine/clock.hpp"
#include "emulator/machine/thread.hpp"

#include <array>

namespace sale::emulator {

/// The operand slots of each lane; null for lanes that take no part.
using LaneSlots = std::array<u64 *, 32>;

class Warp : public StateHolder {
public:
  u32 index() const { return index_; }
  Clock &clock() { return clock_; }

  /// Gathers the lanes of `mask`; the last to arrive runs execute(const LaneSlots &) for all, then they go on. Faults
  /// when lanes of the mask meet different instructions or bring different masks, and when one has returned.
  template <class Execute>
  void collective(Thread &thread, const Instruction &instruction, u64 *slot, const Execute &execute,
                  u32 mask = 0xffffffffU) {
    if (const LaneSlots *lanes = arrive(thread, instruction, slot, mask)) {
      execute(*lanes);
      release();
    }
  }

private:
  friend class Cta;
  const LaneSlots *arrive(Thread &thread, const Instruction &instruction, u64 *slot, u32 mask);
  void release();

  u32 index_ = 0;
  Clock clock_;
};

} // namespace sale::emulator
