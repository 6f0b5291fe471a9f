// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/copy_async.hpp"

#include "emulator/instructions/address.hpp"
#include "emulator/instructions/bank_accesses.hpp"
#include "emulator/instructions/mbarrier.hpp"
#include "emulator/machine/global_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>

namespace sale::emulator {

namespace {

constexpr u32 most_bytes = 16;

struct Copy {
  const Instruction *instruction = nullptr;
  AsyncAccess target;
  const u8 *source = nullptr;
  u32 source_bytes = 0;
  bool landed = false;
  bool on_mbarrier = false; ///< cp.async.mbarrier.arrive makes it complete, even after the thread has returned.

  /// The source is read only now; what it does not give is zero.
  std::array<u8, most_bytes> data() const {
    std::array<u8, most_bytes> bytes{};
    if (source_bytes > 0) {
      std::memcpy(bytes.data(), source, source_bytes);
    }
    return bytes;
  }
};

/// A thread's copies that are not known to have landed, numbered in order of issue.
struct CopyQueue : State {
  std::deque<Copy> copies;
  u64 first = 0;          ///< The number of copies.front().
  std::deque<u64> groups; ///< The committed groups: the number after each one's last copy.

  u64 end() const { return first + copies.size(); }
  Copy &at(u64 number) { return copies[number - first]; }

  /// The copies below `number` are the warp's own writes, now.
  void land(Thread &thread, u64 number) {
    for (; first < number; ++first, copies.pop_front()) {
      if (const Copy &copy = copies.front(); !copy.landed) {
        thread.cta().shared().land_for(thread.warp(), copy.target, copy.data().data());
      }
    }
  }

  void at_return(Thread &thread) override {
    const auto lost = [](const Copy &copy) { return !copy.landed && !copy.on_mbarrier; };
    const auto count = std::count_if(copies.begin(), copies.end(), lost);
    if (count > 0) {
      fault(thread, *std::find_if(copies.begin(), copies.end(), lost)->instruction,
            fmt::format("the thread returns with {} cp.async copies that it never waited for", count));
    }
  }
};

/// cp.async [shared], [global], bytes(, source bytes | ignore-source predicate)(, cache policy)
template <bool sixteen_only, bool has_policy>
void copy_async(Thread &thread, const Instruction &instruction, u64 *slot) {
  const auto value = [&](std::size_t i) { return slot[instruction.operands[i].slot]; };
  const auto bytes = static_cast<u32>(value(2));
  if (sixteen_only ? bytes != 16 : bytes != 4 && bytes != 8 && bytes != 16) {
    fault(thread, instruction,
          fmt::format("cp.async copies {} bytes here, not {}", sixteen_only ? "16" : "4, 8 or 16", bytes));
  }
  u32 source_bytes = bytes;
  if (instruction.operands.size() > (has_policy ? 4 : 3)) {
    const auto given = static_cast<u32>(value(3));
    source_bytes = !instruction.operand(3).predicate ? given : given != 0 ? 0 : bytes;
    if (source_bytes > bytes) {
      fault(thread, instruction, fmt::format("the source has {} bytes, more than the {} to copy", source_bytes, bytes));
    }
  }
  const auto *source = reinterpret_cast<const u8 *>(value(1));
  if (source_bytes > 0) {
    if (reinterpret_cast<u64>(source) % bytes != 0) {
      fault(thread, instruction,
            fmt::format("the source address {:#x} is not a multiple of the {} bytes copied", value(1), bytes));
    }
    check_global(thread, instruction, source, source_bytes, 1, false);
  }
  u32 target = 0;
  is_shared(thread, Space::shared, value(0), target);
  count_bank_access(thread, instruction, target, bytes);
  thread.state<CopyQueue>().copies.push_back(
      {.instruction = &instruction,
       .target = thread.cta().shared().begin_write(thread, instruction, target, bytes, bytes),
       .source = source,
       .source_bytes = source_bytes});
}

void commit_group(Thread &thread, const Instruction & /*instruction*/, u64 * /*slot*/) {
  auto &queue = thread.state<CopyQueue>();
  queue.groups.push_back(queue.end());
}

/// cp.async.wait_group n: all but the n latest groups have landed. Copies in no group are not waited for.
void wait_group(Thread &thread, const Instruction &instruction, u64 *slot) {
  auto &queue = thread.state<CopyQueue>();
  while (queue.groups.size() > slot[instruction.operand(0).slot]) {
    queue.land(thread, queue.groups.front());
    queue.groups.pop_front();
  }
}

void wait_all(Thread &thread, const Instruction & /*instruction*/, u64 * /*slot*/) {
  auto &queue = thread.state<CopyQueue>();
  queue.land(thread, queue.end());
  queue.groups.clear();
}

/// cp.async.mbarrier.arrive(.noinc) [mbarrier]: an arrival when all copies of the thread so far have landed.
template <bool increments>
void arrive_on_mbarrier(Thread &thread, const Instruction &instruction, u64 *slot) {
  u32 address = 0;
  if (!is_shared(thread, space_of(instruction), slot[instruction.operand(0).slot], address)) {
    fault(thread, instruction, "the mbarrier is not in shared memory");
  }
  auto &barriers = thread.cta().state<Mbarriers>();
  Mbarrier &barrier = barriers.at(thread, instruction, address);
  if (increments) {
    barriers.expect_arrival(barrier);
  }
  auto &queue = thread.state<CopyQueue>();
  for (Copy &copy : queue.copies) {
    copy.on_mbarrier = true;
  }
  thread.cta().post([&thread, &instruction, &barriers, &queue, address, end = queue.end()] {
    Mbarrier &completion = barriers.at(thread, instruction, address);
    for (u64 number = queue.first; number < end; ++number) {
      Copy &copy = queue.at(number);
      if (!copy.landed) {
        thread.cta().shared().land_on(completion.filling(), completion.agent(), copy.target, copy.data().data(),
                                      Proxy::generic);
        copy.landed = true;
      }
    }
    barriers.arrive(thread, instruction, completion, 1, false);
  });
}

} // namespace

Handler find_copy_async(const Instruction &instruction) {
  const auto &parts = instruction.parts;
  if (parts.size() < 3 || parts[0] != "cp" || parts[1] != "async" || parts[2] == "bulk") {
    return nullptr;
  }
  if (parts[2] == "commit_group") {
    return commit_group;
  }
  if (parts[2] == "wait_group") {
    return wait_group;
  }
  if (parts[2] == "wait_all") {
    return wait_all;
  }
  if (parts[2] == "mbarrier") {
    return instruction.has("noinc") ? arrive_on_mbarrier<false> : arrive_on_mbarrier<true>;
  }
  const bool has_policy = instruction.has("L2::cache_hint");
  if (parts[2] == "ca") {
    return has_policy ? copy_async<false, true> : copy_async<false, false>;
  }
  if (parts[2] == "cg") {
    return has_policy ? copy_async<true, true> : copy_async<true, false>;
  }
  return nullptr;
}

} // namespace sale::emulator
