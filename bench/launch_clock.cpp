// SPDX-License-Identifier: Apache-2.0
#include "bench/launch_clock.hpp"

#include <chrono>

namespace sale::bench {

namespace {

using Clock = std::chrono::steady_clock;

// The driver's entry points take no state of ours, hence these.
cu::Api real;
int launches_now = 0;
Clock::duration inside{};

template <class Call>
cu::Result timed(const Call &call) {
  const auto begin = Clock::now();
  const cu::Result result = call();
  inside += Clock::now() - begin;
  ++launches_now;
  return result;
}

cu::Result launch(cu::Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                  unsigned block_y, unsigned block_z, unsigned shared_bytes, cu::Stream stream, void **arguments,
                  void **extra) {
  return timed([&] {
    return real.launch(function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream, arguments,
                       extra);
  });
}

cu::Result fill_words(cu::Address to, unsigned value, std::size_t words, cu::Stream stream) {
  return timed([&] { return real.fill_words(to, value, words, stream); });
}

} // namespace

// Plans hold the driver as const; its table of entry points is not a const object.
LaunchClock::LaunchClock(const Driver &driver) : api_(const_cast<Driver &>(driver).api) { // NOLINT(*-const-cast)
  real = api_;
  launches_now = 0;
  inside = {};
  api_.launch = launch;
  api_.fill_words = fill_words;
}

LaunchClock::~LaunchClock() {
  api_.launch = real.launch;
  api_.fill_words = real.fill_words;
}

int LaunchClock::launches() const { return launches_now; }

double LaunchClock::microseconds() const { return std::chrono::duration<double, std::micro>(inside).count(); }

} // namespace sale::bench
