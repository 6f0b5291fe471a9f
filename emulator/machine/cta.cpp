// SPDX-License-Identifier: Apache-2.0
#include "emulator/machine/cta.hpp"

#include "emulator/machine/describe.hpp"
#include "emulator/machine/launch_state.hpp"
#include "emulator/machine/scheduler.hpp"
#include "emulator/machine/stacks.hpp"

#include <fmt/format.h>

#include <exception>
#include <map>
#include <utility>
#include <vector>

namespace sale::emulator {

struct Cta::Members {
  Members(Cta &cta, LaunchState &state, Stacks &its_stacks, Sites &its_sites)
      : launch(state), sites(its_sites), scheduler(cta, its_stacks, state.stop), threads(state.shape.block.x),
        warps((threads.size() + 31) / 32), shared(state.shape.shared_bytes, static_cast<u32>(warps.size()), its_sites) {
  }

  LaunchState &launch;
  Sites &sites;
  Scheduler scheduler;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  SharedMemory shared;
  Dim3 block_index;
  u32 running = 0;
  u32 agents = 0;
};

Cta::Cta(LaunchState &launch, Stacks &stacks, Sites &sites)
    : members_(std::make_unique<Members>(*this, launch, stacks, sites)) {
  Members &m = *members_;
  for (u32 i = 0; i < threads(); ++i) {
    Warp &warp = m.warps[i / 32];
    warp.index_ = i / 32;
    warp.lanes_ |= 1U << i % 32;
    warp.scheduler_ = &m.scheduler;
    Thread &thread = m.threads[i];
    thread.cta_ = this;
    thread.warp_ = &warp;
    thread.index_ = i;
    thread.scheduler_ = &m.scheduler;
  }
}

Cta::~Cta() = default;

void Cta::run(const Dim3 &block_index, u64 seed) {
  Members &m = *members_;
  m.block_index = block_index;
  m.running = threads();
  m.agents = 0;
  clear_states();
  for (Thread &thread : m.threads) {
    thread.clear_states();
    thread.waits_at_ = nullptr;
  }
  for (Warp &warp : m.warps) {
    warp.reset();
  }
  m.shared.reset();
  m.scheduler.run(seed);
}

Dim3 Cta::block_index() const { return members_->block_index; }
Dim3 Cta::grid() const { return members_->launch.shape.grid; }
u32 Cta::threads() const { return static_cast<u32>(members_->threads.size()); }
u32 Cta::running() const { return members_->running; }
u32 Cta::warps() const { return static_cast<u32>(members_->warps.size()); }
Thread &Cta::thread(u32 index) { return members_->threads[index]; }
Warp &Cta::warp(u32 index) { return members_->warps[index]; }
SharedMemory &Cta::shared() { return members_->shared; }
Sites &Cta::sites() { return members_->sites; }
void Cta::post(std::function<void()> event) { members_->scheduler.post(std::move(event)); }
Actor Cta::new_agent() { return warps() + members_->agents++; }

void Cta::run_thread(Thread &thread) {
  std::string failure;
  try {
    members_->launch.entry(members_->launch.params);
  } catch (const std::exception &error) { // it must not pass through the end of the stack
    failure = fmt::format("The emulator failed: {}\n  in {}", error.what(), describe_thread(thread));
  }
  if (!failure.empty()) {
    fail(failure);
  }
  --members_->running;
  const auto tell = [&](const StateHolder &holder) {
    for (std::size_t i = 0; i < holder.states().size(); ++i) {
      if (State *state = holder.states()[i].get()) {
        state->at_return(thread);
      }
    }
  };
  tell(thread);
  tell(thread.warp());
  tell(*this);
  thread.warp().leave(thread);
  if (members_->running == 0) {
    finish();
  }
}

void Cta::finish() {
  Members &m = *members_;
  while (m.scheduler.land()) {
  }
  const auto check = [&](const StateHolder &holder) {
    for (const auto &state : holder.states()) {
      const std::string text = state == nullptr ? std::string{} : state->left_behind();
      if (!text.empty()) {
        fail(fmt::format("{}\n  when {} ended", text, describe_cta(*this)));
      }
    }
  };
  for (const Thread &each : m.threads) {
    check(each);
  }
  for (const Warp &each : m.warps) {
    check(each);
  }
  check(*this);
  m.shared.check_idle(*this);
  m.scheduler.leave();
}

void Cta::fail(const std::string &text) {
  members_->launch.fail(text);
  members_->scheduler.leave();
}

void Cta::deadlock() {
  std::string text = fmt::format("Deadlock in {}: no thread can run", describe_cta(*this));
  for (Warp &each : members_->warps) {
    std::map<std::pair<const Instruction *, std::string>, u32> waits;
    u32 spinning = each.lanes_ & ~each.returned_;
    for (u32 lane = 0; lane < 32 && (each.lanes_ >> lane & 1U) != 0; ++lane) {
      const Thread &its = thread(each.index_ * 32 + lane);
      if (its.waits_at_ != nullptr) {
        const std::string what = its.waits_for_ == nullptr ? "the other lanes of the collective" : *its.waits_for_;
        waits[{its.waits_at_, what}] |= 1U << lane;
        spinning &= ~(1U << lane);
      }
    }
    for (const auto &[wait, mask] : waits) {
      text += fmt::format("\n  warp {} {}: waits for {}\n    at {}", each.index_, describe_lanes(mask), wait.second,
                          wait.first->describe());
    }
    if (spinning != 0) {
      text += fmt::format("\n  warp {} {}: spins", each.index_, describe_lanes(spinning));
    }
    if (each.returned_ != 0) {
      text += fmt::format("\n  warp {} {}: returned", each.index_, describe_lanes(each.returned_));
    }
  }
  fail(text);
}

} // namespace sale::emulator
