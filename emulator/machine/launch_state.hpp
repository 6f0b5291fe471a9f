// SPDX-License-Identifier: Apache-2.0
// What the CTAs of one launch share.
#pragma once

#include "emulator/machine/launch.hpp"

#include <atomic>
#include <mutex>

namespace sale::emulator {

struct LaunchState {
  KernelEntry entry = nullptr;
  void **params = nullptr;
  LaunchShape shape;

  std::atomic<u64> next_cta = 0;
  std::atomic<bool> stop = false; ///< Something was wrong: every CTA ends at its next switch of threads.

  /// Keeps the first text.
  void fail(const std::string &text) {
    const std::lock_guard lock(mutex_);
    if (!report_) {
      report_ = Report{text};
    }
    stop = true;
  }
  const std::optional<Report> &report() const { return report_; }

private:
  std::mutex mutex_;
  std::optional<Report> report_;
};

} // namespace sale::emulator
