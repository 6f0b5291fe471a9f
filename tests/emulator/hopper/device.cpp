// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/hopper/device.hpp"

#include <algorithm>
#include <cstring>

namespace sale::emulator::test {

namespace {

Operand coordinates(int rank) {
  Operand operand = address();
  operand.count = 1 + rank;
  return operand;
}

u64 bits(const void *pointer) { return reinterpret_cast<u64>(pointer); }

template <class Make>
const Instruction &by_rank(std::size_t rank, const Make &make_it) {
  static const std::vector<Instruction> instructions = [&] {
    std::vector<Instruction> made;
    for (int i = 1; i <= 5; ++i) {
      made.push_back(make_it(i));
    }
    return made;
  }();
  return instructions[rank - 1];
}

} // namespace

void sync() {
  static const Instruction it = make("bar.sync", {value()});
  execute(it);
}

void store(u32 to, u32 word) {
  static const Instruction it = make("st.shared.b32", {address(), value()});
  execute(it, {to, word});
}

u32 load(u32 from) {
  static const Instruction it = make("ld.shared.b32", {value(), address()});
  return static_cast<u32>(execute(it, {0, from})[0]);
}

void store_bytes(u32 to, const std::vector<u8> &bytes) {
  for (u32 i = 0; i + 4 <= bytes.size(); i += 4) {
    u32 word = 0;
    std::memcpy(&word, bytes.data() + i, 4);
    store(to + i, word);
  }
}

void mbarrier_init(u32 barrier, u32 count) {
  static const Instruction it = make("mbarrier.init.shared::cta.b64", {address(), value()});
  execute(it, {barrier, count});
}

void mbarrier_inval(u32 barrier) {
  static const Instruction it = make("mbarrier.inval.shared::cta.b64", {address()});
  execute(it, {barrier});
}

u64 mbarrier_arrive(u32 barrier, u32 count) {
  static const Instruction it = make("mbarrier.arrive.shared::cta.b64", {value(), address(), value()});
  return execute(it, {0, barrier, count})[0];
}

void mbarrier_arrive_drop(u32 barrier, u32 count) {
  static const Instruction it = make("mbarrier.arrive_drop.shared::cta.b64", {sink(), address(), value()});
  execute(it, {0, barrier, count});
}

void mbarrier_arrive_expect(u32 barrier, u32 bytes) {
  static const Instruction it = make("mbarrier.arrive.expect_tx.shared::cta.b64", {sink(), address(), value()});
  execute(it, {0, barrier, bytes});
}

void mbarrier_expect(u32 barrier, u32 bytes) {
  static const Instruction it = make("mbarrier.expect_tx.relaxed.cta.shared::cta.b64", {address(), value()});
  execute(it, {barrier, bytes});
}

void mbarrier_complete(u32 barrier, u32 bytes) {
  static const Instruction it = make("mbarrier.complete_tx.relaxed.cta.shared::cta.b64", {address(), value()});
  execute(it, {barrier, bytes});
}

bool mbarrier_try(u32 barrier, u32 parity) {
  static const Instruction it = make("mbarrier.try_wait.parity.shared::cta.b64", {predicate(), address(), value()});
  return execute(it, {0, barrier, parity})[0] != 0;
}

void mbarrier_wait(u32 barrier, u32 parity) {
  while (!mbarrier_try(barrier, parity)) {
  }
}

bool mbarrier_try_state(u32 barrier, u64 state) {
  static const Instruction it = make("mbarrier.try_wait.shared::cta.b64", {predicate(), address(), value()});
  return execute(it, {0, barrier, state})[0] != 0;
}

void fence_mbarrier_init() {
  static const Instruction it = make("fence.mbarrier_init.release.cluster", {});
  execute(it);
}

void fence_async() {
  static const Instruction it = make("fence.proxy.async.shared::cta", {});
  execute(it);
}

void bulk_load(u32 destination, const void *source, u32 bytes, u32 barrier) {
  static const Instruction it = make("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes",
                                     {address(), address(), value(), address()});
  execute(it, {destination, bits(source), bytes, barrier});
}

void bulk_store(void *destination, u32 source, u32 bytes) {
  static const Instruction it = make("cp.async.bulk.global.shared::cta.bulk_group", {address(), address(), value()});
  execute(it, {bits(destination), source, bytes});
}

void bulk_commit() {
  static const Instruction it = make("cp.async.bulk.commit_group", {});
  execute(it);
}

void bulk_wait(u32 pending) {
  static const Instruction it = make("cp.async.bulk.wait_group", {value()});
  execute(it, {pending});
}

void bulk_wait_read(u32 pending) {
  static const Instruction it = make("cp.async.bulk.wait_group.read", {value()});
  execute(it, {pending});
}

void tensor_load(u32 destination, const void *map, const std::vector<s32> &corner, u32 barrier) {
  const Instruction &it = by_rank(corner.size(), [](int rank) {
    return make("cp.async.bulk.tensor." + std::to_string(rank) +
                    "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes",
                {address(), coordinates(rank), address()});
  });
  Slots slots{destination, bits(map)};
  std::transform(corner.begin(), corner.end(), slots.begin() + 2, [](s32 x) { return static_cast<u32>(x); });
  slots[2 + corner.size()] = barrier;
  execute(it, slots);
}

void tensor_store(const void *map, const std::vector<s32> &corner, u32 source) {
  const Instruction &it = by_rank(corner.size(), [](int rank) {
    return make("cp.async.bulk.tensor." + std::to_string(rank) + "d.global.shared::cta.tile.bulk_group",
                {coordinates(rank), address()});
  });
  Slots slots{bits(map)};
  std::transform(corner.begin(), corner.end(), slots.begin() + 1, [](s32 x) { return static_cast<u32>(x); });
  slots[1 + corner.size()] = source;
  execute(it, slots);
}

} // namespace sale::emulator::test
