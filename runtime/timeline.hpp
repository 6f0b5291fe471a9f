// SPDX-License-Identifier: Apache-2.0
// Events between the stages of one call, for Plan::profile.
#pragma once

#include "generator/kernel_spec.hpp"
#include "runtime/driver.hpp"
#include "sale/sale.hpp"

#include <utility>
#include <vector>

namespace sale {

class Timeline {
public:
  /// Starts the clock on `stream`. The stream's context must be current for the object's whole life.
  Timeline(const Driver &driver, cu::Stream stream);
  ~Timeline();
  Timeline(const Timeline &) = delete;
  Timeline &operator=(const Timeline &) = delete;

  /// What was enqueued since the last mark belongs to `stage`.
  void mark(Stage stage);
  /// Waits for the last mark.
  StageTimes times() const;

private:
  cu::Event record();

  const Driver &driver_;
  cu::Stream stream_;
  cu::Event begin_ = nullptr;
  std::vector<std::pair<Stage, cu::Event>> marks_;
};

} // namespace sale
