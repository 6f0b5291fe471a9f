// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/bulk_copy.hpp"

#include "emulator/instructions/mbarrier.hpp"
#include "emulator/machine/global_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace sale::emulator {

namespace {

constexpr u32 unit = 16; // sizes and addresses are multiples of it

u32 shared_operand(const Instruction &instruction, const u64 *slot, int operand) {
  return static_cast<u32>(std::min<u64>(slot[instruction.operand(operand).slot], 0xffffffffU)); // else it must fault
}

u8 *global_operand(const Instruction &instruction, const u64 *slot, int operand) {
  return reinterpret_cast<u8 *>(slot[instruction.operand(operand).slot]); // an emulated address is the host's own
}

u32 size_operand(Thread &thread, const Instruction &instruction, const u64 *slot, int operand) {
  const auto bytes = static_cast<u32>(slot[instruction.operand(operand).slot]);
  if (bytes == 0 || bytes % unit != 0) {
    fault(thread, instruction, fmt::format("{} bytes; a bulk copy's size is a positive multiple of {}", bytes, unit));
  }
  return bytes;
}

void execute_load(Thread &thread, const Instruction &instruction, u64 *slot) {
  const u32 destination = shared_operand(instruction, slot, 0);
  const u8 *source = global_operand(instruction, slot, 1);
  const u32 bytes = size_operand(thread, instruction, slot, 2);
  Cta &cta = thread.cta();
  Mbarriers &barriers = cta.state<Mbarriers>();
  Mbarrier &barrier = barriers.begin_copy(thread, instruction, shared_operand(instruction, slot, 3), bytes);
  check_global(thread, instruction, source, bytes, unit, false);
  const AsyncAccess access = cta.shared().begin_write(thread, instruction, destination, bytes, unit);
  cta.post([&cta, &instruction, &barriers, &barrier, access, source, bytes] {
    cta.shared().land_on(barrier.filling(), barrier.agent(), access, source, Proxy::async);
    barriers.end_copy(cta, instruction, barrier, bytes);
  });
}

void execute_store(Thread &thread, const Instruction &instruction, u64 *slot) {
  u8 *destination = global_operand(instruction, slot, 0);
  const u32 bytes = size_operand(thread, instruction, slot, 2);
  check_global(thread, instruction, destination, bytes, unit, true);
  const AsyncAccess access = thread.cta().shared().begin_read(thread, instruction, shared_operand(instruction, slot, 1),
                                                              bytes, unit, Proxy::async);
  thread.state<BulkStores>().add(instruction, {access},
                                 [destination, bytes](const u8 *data) { std::memcpy(destination, data, bytes); });
}

void execute_prefetch(Thread &thread, const Instruction &instruction, u64 *slot) {
  const u32 bytes = size_operand(thread, instruction, slot, 1);
  check_global(thread, instruction, global_operand(instruction, slot, 0), bytes, unit, false);
}

void execute_commit(Thread &thread, const Instruction & /*instruction*/, u64 * /*slot*/) {
  thread.state<BulkStores>().commit();
}

void execute_wait(Thread &thread, const Instruction &instruction, u64 *slot) {
  const auto pending = static_cast<u32>(slot[instruction.operand(0).slot]);
  thread.state<BulkStores>().wait(thread, pending, instruction.has("read"));
}

} // namespace

void BulkStores::add(const Instruction &instruction, std::vector<AsyncAccess> sources, Write write) {
  auto store = std::make_shared<Store>();
  store->sources = std::move(sources);
  store->write = std::move(write);
  open_.push_back(std::move(store));
  last_ = &instruction;
}

void BulkStores::commit() {
  groups_.push_back(std::move(open_));
  open_.clear();
}

void BulkStores::read(Thread &thread, const std::shared_ptr<Store> &store) {
  if (store->read) {
    return;
  }
  SharedMemory &shared = thread.cta().shared();
  for (const AsyncAccess &source : store->sources) {
    const u8 *bytes = shared.peek(source);
    store->data.insert(store->data.end(), bytes, bytes + source.bytes);
    shared.end_read(thread.warp(), source);
  }
  store->read = true;
  thread.cta().post([store] { write(*store); });
}

void BulkStores::write(Store &store) {
  if (!store.written) {
    store.write(store.data.data());
    store.written = true;
    store.data = {};
  }
}

void BulkStores::wait(Thread &thread, u32 pending, bool read_only) {
  const std::size_t done = groups_.size() - std::min<std::size_t>(pending, groups_.size());
  for (std::size_t i = 0; i < done; ++i) {
    for (const auto &store : groups_[i]) {
      read(thread, store);
      if (!read_only) {
        write(*store);
      }
    }
  }
  const auto written = [](const Group &group) {
    return std::all_of(group.begin(), group.end(), [](const auto &store) { return store->written; });
  };
  while (!groups_.empty() && written(groups_.front())) { // complete, whether this wait covers it or not
    groups_.pop_front();
  }
}

void BulkStores::at_return(Thread &thread) {
  const auto unread = [](const Group &group) {
    return std::any_of(group.begin(), group.end(), [](const auto &store) { return !store->read; });
  };
  if (unread(open_) || std::any_of(groups_.begin(), groups_.end(), unread)) {
    fault(thread, *last_,
          fmt::format("the thread returns while its bulk stores may still read shared memory; {} must come first",
                      open_.empty() ? "cp.async.bulk.wait_group" : "cp.async.bulk.commit_group"));
  }
}

Handler find_bulk_copy(const Instruction &instruction) {
  const std::vector<std::string> &parts = instruction.parts;
  if (parts.size() < 4 || parts[0] != "cp" || parts[1] != "async" || parts[2] != "bulk" || instruction.has("tensor") ||
      instruction.has("multicast::cluster")) {
    return nullptr;
  }
  if (parts[3] == "commit_group") {
    return execute_commit;
  }
  if (parts[3] == "wait_group") {
    return execute_wait;
  }
  if (parts[3] == "prefetch") {
    return execute_prefetch;
  }
  if (parts.size() < 5) {
    return nullptr;
  }
  if ((parts[3] == "shared::cluster" || parts[3] == "shared::cta") && parts[4] == "global") {
    return execute_load;
  }
  return parts[3] == "global" && parts[4] == "shared::cta" && instruction.has("bulk_group") ? execute_store : nullptr;
}

} // namespace sale::emulator
