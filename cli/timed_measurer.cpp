// SPDX-License-Identifier: Apache-2.0
#include "cli/timed_measurer.hpp"

#include <chrono>

namespace sale::cli {

namespace {

// Adds what it takes, however the work ends.
class Timer {
public:
  explicit Timer(double &sum) : sum_(sum) {}
  ~Timer() { sum_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }
  Timer(const Timer &) = delete;
  Timer &operator=(const Timer &) = delete;

private:
  double &sum_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

} // namespace

autotune::GpuParameters TimedMeasurer::parameters() {
  const Timer timer(measure_seconds_);
  return inner_.parameters();
}

autotune::Rounds TimedMeasurer::measure(const autotune::Task &task, const std::vector<Tile> &tiles, int rounds) {
  const Timer timer(measure_seconds_);
  return inner_.measure(task, tiles, rounds);
}

autotune::Measurement TimedMeasurer::check(const autotune::Task &task, const Tile &tile) {
  const Timer timer(check_seconds_);
  return inner_.check(task, tile);
}

autotune::PolicyRounds TimedMeasurer::time_policies(const autotune::PolicyCalls &calls, int rounds) {
  const Timer timer(measure_seconds_);
  return inner_.time_policies(calls, rounds);
}

} // namespace sale::cli
