// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/copy_async.hpp"

#include "emulator/instructions/address.hpp"
#include "emulator/instructions/bank_accesses.hpp"
#include "emulator/instructions/mbarrier.hpp"
#include "emulator/machine/global_memory.hpp"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

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

using Group = std::vector<std::shared_ptr<Copy>>;

/// A thread's copies in flight.
struct CopyQueue : State {
  std::deque<Group> committed;
  Group open;

  void at_return(Thread &thread) override {
    std::size_t lost = 0;
    const Instruction *last = nullptr;
    for_each([&](const Copy &copy) {
      lost += copy.landed || copy.on_mbarrier ? 0 : 1;
      last = copy.landed || copy.on_mbarrier ? last : copy.instruction;
    });
    if (lost > 0) {
      fault(thread, *last, fmt::format("the thread returns with {} cp.async copies that it never waited for", lost));
    }
  }

  template <class Visit>
  void for_each(const Visit &visit) {
    for (const Group &group : committed) {
      for (const auto &copy : group) {
        visit(*copy);
      }
    }
    for (const auto &copy : open) {
      visit(*copy);
    }
  }
};

void land(Thread &thread, const Group &group) {
  for (const auto &copy : group) {
    if (!copy->landed) {
      thread.cta().shared().land_for(thread.warp(), copy->target, copy->data().data());
      copy->landed = true;
    }
  }
}

/// cp.async [shared], [global], bytes(, source bytes | ignore-source predicate)(, cache policy)
template <bool has_policy>
void copy_async(Thread &thread, const Instruction &instruction, u64 *slot) {
  const auto value = [&](std::size_t i) { return slot[instruction.operands[i].slot]; };
  const auto bytes = static_cast<u32>(value(2));
  const bool sixteen_only = instruction.has("cg");
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
  const Copy copy{.instruction = &instruction,
                  .target = thread.cta().shared().begin_write(thread, instruction, target, bytes, bytes),
                  .source = source,
                  .source_bytes = source_bytes};
  thread.state<CopyQueue>().open.push_back(std::make_shared<Copy>(copy));
}

void commit_group(Thread &thread, const Instruction & /*instruction*/, u64 * /*slot*/) {
  auto &queue = thread.state<CopyQueue>();
  queue.committed.push_back(std::move(queue.open));
  queue.open.clear();
}

/// cp.async.wait_group n: all but the n latest groups have landed. Copies in no group are not waited for.
void wait_group(Thread &thread, const Instruction &instruction, u64 *slot) {
  auto &queue = thread.state<CopyQueue>();
  while (queue.committed.size() > slot[instruction.operand(0).slot]) {
    land(thread, queue.committed.front());
    queue.committed.pop_front();
  }
}

void wait_all(Thread &thread, const Instruction & /*instruction*/, u64 * /*slot*/) {
  auto &queue = thread.state<CopyQueue>();
  for (const Group &group : queue.committed) {
    land(thread, group);
  }
  queue.committed.clear();
  land(thread, queue.open);
  queue.open.clear();
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
  Group copies;
  auto &queue = thread.state<CopyQueue>();
  for (const Group &group : queue.committed) {
    copies.insert(copies.end(), group.begin(), group.end());
  }
  copies.insert(copies.end(), queue.open.begin(), queue.open.end());
  for (const auto &copy : copies) {
    copy->on_mbarrier = true;
  }
  thread.cta().post([&thread, &instruction, &barriers, address, copies] {
    Mbarrier &completion = barriers.at(thread, instruction, address);
    for (const auto &copy : copies) {
      if (!copy->landed) {
        thread.cta().shared().land_on(completion.filling(), completion.agent(), copy->target, copy->data().data(),
                                      Proxy::generic);
        copy->landed = true;
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
  if (parts[2] != "ca" && parts[2] != "cg") {
    return nullptr;
  }
  return instruction.has("L2::cache_hint") ? copy_async<true> : copy_async<false>;
}

} // namespace sale::emulator
