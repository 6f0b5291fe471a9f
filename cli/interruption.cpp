// SPDX-License-Identifier: Apache-2.0
#include "cli/interruption.hpp"

#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>

namespace sale::cli {

namespace {

constexpr std::array signals = {SIGINT, SIGTERM};
std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free); // so that a signal handler may use it
std::array<struct sigaction, signals.size()> before;

void note(int signal) { received = signal; }

} // namespace

Interruption::Interruption() {
  received = 0;
  for (std::size_t i = 0; i < signals.size(); ++i) {
    struct sigaction action{};
    action.sa_handler = note;
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
    if (::sigaction(signals[i], nullptr, &before[i]) == 0 && before[i].sa_handler != SIG_IGN) {
      ::sigaction(signals[i], &action, nullptr);
    }
  }
}

Interruption::~Interruption() {
  for (std::size_t i = 0; i < signals.size(); ++i) {
    ::sigaction(signals[i], &before[i], nullptr);
  }
}

int Interruption::signal() const { return received; }

} // namespace sale::cli
