// SPDX-License-Identifier: Apache-2.0
// Which of a CTA's fibers runs next. Other lanes of the same warp come first, so that collectives complete soon, then
// the other warps in turn; with a seed, any ready thread.
#pragma once

#include "emulator/machine/cta.hpp"

#include <boost/context/detail/fcontext.hpp>

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <utility>

namespace sale::emulator {

class Scheduler {
public:
  Scheduler(Cta &cta, Stacks &stacks, const std::atomic<bool> &stop);

  /// Makes a fiber of every thread and runs them, until leave().
  void run(u64 seed);
  /// Back to run(), for good: the fibers are abandoned.
  [[noreturn]] void leave();

  Thread &current() const { return *current_; }
  void make_ready(const Thread &thread) { make_ready(thread.index() / 32, 1U << thread.lane()); }
  void make_ready(u32 warp, u32 lanes) {
    if (lanes != 0) {
      ready_[warp] |= lanes;
      ready_warps_ |= 1U << warp;
    }
  }
  /// Runs others until the current thread is made ready.
  void block() {
    yields_ = 0;
    switch_to(next(current_->index() / 32));
  }
  void yield();
  bool on_stack(const Thread &thread, const void *address, std::size_t bytes) const;
  /// The current thread has returned.
  [[noreturn]] void end_thread();

  void post(std::function<void()> event) { events_.push_back(std::move(event)); }
  /// Runs one event; false when there is none.
  bool land();

private:
  Thread &next(u32 first_warp);
  /// Inline, as block(): processors predict no return of a function that another stack called.
  void switch_to(Thread &thread) {
    Thread &previous = *std::exchange(current_, &thread);
    if (&thread != &previous) {
      keep(boost::context::detail::jump_fcontext(thread.context_, &previous.context_));
    }
  }
  /// Whoever ran before said where its context is kept.
  static void keep(const boost::context::detail::transfer_t &from) { *static_cast<void **>(from.data) = from.fctx; }
  u32 random();

  Cta &cta_;
  Stacks &stacks_;
  const std::atomic<bool> &stop_;
  Thread *threads_ = nullptr;
  Thread *current_ = nullptr;
  void *home_ = nullptr; ///< Where run() waits.
  u32 ready_warps_ = 0;
  std::array<u32, 32> ready_{}; ///< Lanes, by warp.
  std::array<u32, 32> turn_{};  ///< Of each warp: the lane after the last that ran.
  std::deque<std::function<void()>> events_;
  u64 random_ = 0; ///< 0: not random
  u32 yields_ = 0; ///< Since a thread last blocked or returned.
};

} // namespace sale::emulator
