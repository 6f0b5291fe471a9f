// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/proxy_fence.hpp"

#include "emulator/instructions/mbarrier.hpp"

#include <fmt/format.h>

namespace sale::emulator {

namespace {

void execute_async(Thread &thread, const Instruction & /*instruction*/, u64 * /*slot*/) {
  thread.cta().shared().fence_async_proxy(thread.warp());
  thread.cta().state<Mbarriers>().fence_async_proxy(thread);
}

// Of global memory alone, where proxies are not told apart.
void execute_async_global(Thread & /*thread*/, const Instruction & /*instruction*/, u64 * /*slot*/) {}

void execute_mbarrier_init(Thread &thread, const Instruction & /*instruction*/, u64 * /*slot*/) {
  thread.cta().state<Mbarriers>().fence_init(thread);
}

// Tensor maps are read where they are, and written by the host alone.
void execute_tensormap(Thread & /*thread*/, const Instruction & /*instruction*/, u64 * /*slot*/) {}

// The phase of the cluster's barrier that a thread has arrived in and not waited for.
struct ClusterArrival : State {
  bool pending = false;
  u64 phase = 0;
};

// Every thread of the cluster, of one CTA here, arrives; those that returned need not.
struct ClusterBarrier : State {
  u32 arrived = 0;
  u64 phase = 0;
  Signal changed;
  Synchronization filling;
  Synchronization completed;
  std::string what = "the other threads of the cluster to arrive";

  void settle(const Cta &cta) {
    if (arrived > 0 && arrived == cta.running()) {
      arrived = 0;
      ++phase;
      completed.join(filling);
      filling.clear();
      changed.raise();
    }
  }

  void at_return(Thread &thread) override {
    const auto &arrival = thread.state<ClusterArrival>();
    arrived -= arrival.pending && arrival.phase == phase ? 1 : 0;
    settle(thread.cta());
  }
};

void execute_cluster_arrive(Thread &thread, const Instruction &instruction, u64 * /*slot*/) {
  auto &arrival = thread.state<ClusterArrival>();
  auto &barrier = thread.cta().state<ClusterBarrier>();
  if (arrival.pending) {
    fault(thread, instruction, "barrier.cluster.arrive again, with no barrier.cluster.wait since the last one");
  }
  arrival.pending = true;
  arrival.phase = barrier.phase;
  if (!instruction.has("relaxed")) {
    barrier.filling.release(thread.warp());
  }
  ++barrier.arrived;
  barrier.settle(thread.cta());
  thread.yield();
}

void execute_cluster_wait(Thread &thread, const Instruction &instruction, u64 * /*slot*/) {
  auto &arrival = thread.state<ClusterArrival>();
  auto &barrier = thread.cta().state<ClusterBarrier>();
  if (!arrival.pending) {
    fault(thread, instruction, "barrier.cluster.wait without barrier.cluster.arrive");
  }
  while (barrier.phase == arrival.phase) {
    thread.wait(instruction, barrier.changed, barrier.changed.generation(), barrier.what);
  }
  arrival.pending = false;
  barrier.completed.acquire(thread.warp());
}

// An address in the shared memory of the cluster's CTA of this rank: there is only rank 0.
void execute_mapa(Thread &thread, const Instruction &instruction, u64 *slot) {
  const u64 rank = slot[instruction.operand(2).slot];
  if (rank != 0) {
    fault(thread, instruction, fmt::format("CTA {} of the cluster; the emulator's clusters have one CTA", rank));
  }
  slot[instruction.operand(0).slot] = slot[instruction.operand(1).slot];
}

void execute_getctarank(Thread & /*thread*/, const Instruction &instruction, u64 *slot) {
  slot[instruction.operand(0).slot] = 0;
}

} // namespace

Handler find_proxy_fence(const Instruction &instruction) {
  const std::string &opcode = instruction.parts[0];
  if (opcode == "fence" && instruction.has("mbarrier_init")) {
    return execute_mbarrier_init;
  }
  if (opcode == "fence" && instruction.parts.size() > 2 && instruction.parts[1] == "proxy") {
    const std::string &proxy = instruction.parts[2];
    if (proxy == "async") {
      return instruction.has("global") ? execute_async_global : execute_async;
    }
    return proxy.starts_with("tensormap") ? execute_tensormap : nullptr;
  }
  if (opcode == "barrier" && instruction.has("cluster")) {
    return instruction.has("arrive") ? execute_cluster_arrive
           : instruction.has("wait") ? execute_cluster_wait
                                     : nullptr;
  }
  if (opcode == "mapa") {
    return execute_mapa;
  }
  return opcode == "getctarank" ? execute_getctarank : nullptr;
}

} // namespace sale::emulator
