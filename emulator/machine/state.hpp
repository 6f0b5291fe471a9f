// SPDX-License-Identifier: Apache-2.0
// State that a family of instructions keeps per thread, warp or CTA (copies in flight, barriers, ..), made on first
// use: thread.state<CopyQueue>().
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace sale::emulator {

class Cta;
class Thread;

struct State {
  virtual ~State() = default;
  /// Of a thread's, its warp's or its CTA's state: the thread returns, and Cta::running() counts it no more. May fault
  /// (copies still in flight, ..) or raise signals (a barrier that waited only for this thread).
  virtual void at_return(Thread &) {}
  /// Of any state: the CTA is done. A sentence when something was left behind, else empty.
  virtual std::string left_behind() const { return {}; }
};

class StateHolder {
public:
  template <class T>
  T &state() {
    const std::size_t i = index_of<T>();
    if (i >= states_.size()) {
      states_.resize(i + 1);
    }
    if (states_[i] == nullptr) {
      states_[i] = std::make_unique<T>();
    }
    return static_cast<T &>(*states_[i]);
  }

  const std::vector<std::unique_ptr<State>> &states() const { return states_; }
  void clear_states() { states_.clear(); }

private:
  static std::size_t next_index();
  template <class T>
  static std::size_t index_of() {
    static const std::size_t index = next_index();
    return index;
  }

  std::vector<std::unique_ptr<State>> states_;
};

} // namespace sale::emulator
