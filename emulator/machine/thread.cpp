// SPDX-License-Identifier: Apache-2.0
#include "emulator/machine/thread.hpp"

#include "emulator/machine/describe.hpp"
#include "emulator/machine/scheduler.hpp"

#include <fmt/format.h>

namespace sale::emulator {

void Signal::raise() {
  ++generation_;
  for (const Thread *thread = waiting_; thread != nullptr; thread = thread->next_waiting_) {
    thread->scheduler_->make_ready(*thread);
  }
  waiting_ = nullptr;
}

void Thread::wait(const Instruction &instruction, const Signal &signal, u64 seen, const std::string &what) {
  if (signal.generation() != seen) {
    return;
  }
  next_waiting_ = signal.waiting_;
  signal.waiting_ = this;
  waits_at_ = &instruction;
  waits_for_ = &what;
  scheduler_->block();
  waits_at_ = nullptr;
}

void Thread::yield() { scheduler_->yield(); }

bool Thread::on_stack(const void *address, std::size_t bytes) const {
  return scheduler_->on_stack(*this, address, bytes);
}

void fault(Thread &thread, const Instruction &instruction, const std::string &message) {
  thread.cta().fail(fmt::format("{}\n  by {}\n  at {}", message, describe_thread(thread), instruction.describe()));
}

} // namespace sale::emulator
