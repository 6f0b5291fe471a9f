// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/control.hpp"

#include "emulator/machine/cta.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

namespace sale::emulator {

namespace {

constexpr u32 warpgroup_warps = 4;
constexpr u32 warpgroup_threads = 128;
constexpr u32 register_file = 65536;
constexpr u32 register_unit = 8; // per thread

/// What setmaxnreg gave each warpgroup.
struct RegisterPool : State {
  struct Warpgroup {
    std::vector<u32> settings;          ///< In order.
    std::map<u32, std::size_t> by_warp; ///< How many of them each warp has made.
  };
  std::map<u32, Warpgroup> warpgroups;
  u32 at_launch = 0; ///< Registers that a thread had at most.

  /// Of the warpgroups that set theirs, a thread of each.
  u32 total() const {
    u32 sum = 0;
    for (const auto &[index, group] : warpgroups) {
      sum += group.settings.back();
    }
    return sum;
  }

  std::string left_behind() const override {
    for (const auto &[index, group] : warpgroups) {
      for (u32 warp = 0; warp < warpgroup_warps; ++warp) {
        const auto made = group.by_warp.find(index * warpgroup_warps + warp);
        if (made == group.by_warp.end() || made->second != group.settings.size()) {
          return fmt::format("Warp {} did not execute every setmaxnreg of its warpgroup",
                             index * warpgroup_warps + warp);
        }
      }
    }
    if (const auto count = static_cast<u32>(warpgroups.size()); total() > count * at_launch) {
      return fmt::format("setmaxnreg gave {} warpgroups {} registers per thread together; a CTA of this size begins "
                         "with at most {} for each, and the other warpgroups gave up none",
                         count, total(), at_launch);
    }
    return {};
  }
};

void set_registers(Thread &thread, const Instruction &instruction, u32 registers) {
  auto &pool = thread.cta().state<RegisterPool>();
  const u32 warp = thread.warp().index();
  RegisterPool::Warpgroup &group = pool.warpgroups[warp / warpgroup_warps];
  const std::size_t made = group.by_warp[warp]++;
  if (made < group.settings.size()) {
    if (group.settings[made] != registers) {
      fault(thread, instruction,
            fmt::format("warp {} sets {} registers where another warp of its warpgroup set {}", warp, registers,
                        group.settings[made]));
    }
    return;
  }
  const bool increases = instruction.has("inc");
  if (made > 0 && (increases ? registers < group.settings.back() : registers > group.settings.back())) {
    fault(thread, instruction,
          fmt::format("setmaxnreg.{} to {} registers from {}", increases ? "inc" : "dec", registers,
                      group.settings.back()));
  }
  group.settings.push_back(registers);
  const u32 threads = thread.cta().threads();
  pool.at_launch = register_file / threads / register_unit * register_unit;
  if (const u32 wanted = pool.total() * warpgroup_threads, most = pool.at_launch * threads; wanted > most) {
    fault(thread, instruction,
          fmt::format("the warpgroups have {} registers together; a CTA of {} threads has at most {}", wanted, threads,
                      most));
  }
}

/// How many registers a CTA has at its launch is the compiler's choice and unknown here, but for the most that they can
/// be: inc never waits, and what could never be given is a fault.
void set_max_registers(Thread &thread, const Instruction &instruction, u64 *slot) {
  thread.warp().collective(thread, instruction, slot, [&](const LaneSlots &lanes) {
    const auto value = [&](std::size_t lane) { return lanes[lane][instruction.operand(0).slot]; };
    const u64 registers = value(0);
    if (registers % register_unit != 0 || registers < 24 || registers > 256) {
      fault(thread, instruction,
            fmt::format("setmaxnreg of {} registers: it takes a multiple of 8 from 24 to 256", registers));
    }
    for (std::size_t lane = 1; lane < lanes.size(); ++lane) {
      if (value(lane) != registers) {
        fault(thread, instruction,
              fmt::format("lanes 0 and {} give {} and {} registers", lane, registers, value(lane)));
      }
    }
    set_registers(thread, instruction, static_cast<u32>(registers));
  });
}

void no_operation(Thread & /*thread*/, const Instruction & /*instruction*/, u64 * /*slot*/) {}

void sleep(Thread &thread, const Instruction & /*instruction*/, u64 * /*slot*/) { thread.yield(); }

void trap(Thread &thread, const Instruction &instruction, u64 * /*slot*/) {
  fault(thread, instruction, "the kernel trapped");
}

} // namespace

Handler find_control(const Instruction &instruction) {
  const std::string &opcode = instruction.parts[0];
  return opcode == "setmaxnreg"       ? set_max_registers
         : opcode == "griddepcontrol" ? no_operation
         : opcode == "nanosleep"      ? sleep
         : opcode == "trap"           ? trap
                                      : nullptr;
}

} // namespace sale::emulator
