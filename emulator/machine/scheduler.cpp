// SPDX-License-Identifier: Apache-2.0
#include "emulator/machine/scheduler.hpp"

#include "emulator/machine/stacks.hpp"

#include <bit>
#include <cstdlib>

namespace sale::emulator {

namespace {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

/// So many yields, and nothing else, mean that the threads wait for an event, or for ever.
constexpr u32 yields_before_event = 4096;
constexpr u32 yields_before_deadlock = 16'000'000;

thread_local Scheduler *active = nullptr;

/// The first set bit at or above `from`, cyclically.
u32 pick(u32 mask, u32 from) {
  const int shift = static_cast<int>(from % 32);
  return static_cast<u32>(std::countr_zero(std::rotr(mask, shift)) + shift) % 32;
}

/// Any of the set bits, each as likely as the others: of few warps of 32, pick() would mostly find the first.
u32 pick_any(u32 mask, u32 random) {
  for (u32 before = random % static_cast<u32>(std::popcount(mask)); before != 0; --before) {
    mask &= mask - 1;
  }
  return static_cast<u32>(std::countr_zero(mask));
}

} // namespace

Thread &current_thread() { return active->current(); }

Scheduler::Scheduler(Cta &cta, Stacks &stacks, const std::atomic<bool> &stop)
    : cta_(cta), stacks_(stacks), stop_(stop) {}

void Scheduler::run(u64 seed) {
  ready_warps_ = 0;
  ready_ = {};
  turn_ = {};
  events_.clear();
  random_ = seed;
  yields_ = 0;
  home_ = nullptr;
  active = this;
  threads_ = &cta_.thread(0);
  for (u32 i = 0; i < cta_.threads(); ++i) {
    Thread &thread = cta_.thread(i);
    thread.context_ = make_fcontext(stacks_.top(i), Stacks::bytes, [](transfer_t from) {
      keep(from);
      Scheduler &scheduler = *active;
      scheduler.cta_.run_thread(scheduler.current());
      scheduler.end_thread();
    });
    make_ready(thread);
  }
  current_ = &next(0);
  jump_fcontext(current_->context_, &home_);
  active = nullptr;
}

void Scheduler::leave() {
  void *unused = nullptr;
  jump_fcontext(home_, &unused);
  std::abort();
}

void Scheduler::yield() {
  ++yields_;
  if (yields_ % yields_before_event == 0 && !land() && yields_ >= yields_before_deadlock) {
    cta_.deadlock();
  }
  make_ready(*current_);
  switch_to(next(current_->index() / 32 + 1));
}

bool Scheduler::on_stack(const Thread &thread, const void *address, std::size_t bytes) const {
  return stacks_.contains(thread.index(), address, bytes);
}

void Scheduler::end_thread() {
  yields_ = 0;
  switch_to(next(current_->index() / 32));
  std::abort();
}

Thread &Scheduler::next(u32 first_warp) {
  if (home_ != nullptr && stop_.load(std::memory_order_relaxed)) { // null: no thread runs yet
    leave();
  }
  while (ready_warps_ == 0) {
    if (!land()) {
      cta_.deadlock();
    }
  }
  const u32 warp = random_ == 0 ? pick(ready_warps_, first_warp) : pick_any(ready_warps_, random());
  const u32 lane = pick(ready_[warp], random_ == 0 ? turn_[warp] : random());
  turn_[warp] = lane + 1;
  ready_[warp] &= ~(1U << lane);
  if (ready_[warp] == 0) {
    ready_warps_ &= ~(1U << warp);
  }
  return threads_[warp * 32 + lane];
}

bool Scheduler::land() {
  if (events_.empty()) {
    return false;
  }
  if (random_ != 0) {
    std::swap(events_.front(), events_[random() % events_.size()]);
  }
  const std::function<void()> event = std::move(events_.front());
  events_.pop_front();
  event();
  return true;
}

u32 Scheduler::random() { // splitmix64
  random_ += 0x9e3779b97f4a7c15U;
  u64 x = random_;
  x = (x ^ x >> 30U) * 0xbf58476d1ce4e5b9U;
  x = (x ^ x >> 27U) * 0x94d049bb133111ebU;
  return static_cast<u32>(x >> 32U);
}

} // namespace sale::emulator
