// SPDX-License-Identifier: Apache-2.0
#include "bench/stopwatch.hpp"

#include <utility>

namespace sale::bench {

Stopwatch::Stopwatch(std::shared_ptr<const Device> device) : device_(std::move(device)) {
  const Driver &driver = device_->driver();
  driver.check(driver.api.event_create(&begin_, cu::event_default), "cuEventCreate");
  if (const cu::Result result = driver.api.event_create(&end_, cu::event_default); result != cu::success) {
    driver.api.event_destroy(begin_);
    driver.check(result, "cuEventCreate");
  }
}

Stopwatch::~Stopwatch() {
  device_->driver().api.event_destroy(begin_);
  device_->driver().api.event_destroy(end_);
}

void Stopwatch::start() {
  device_->driver().check(device_->driver().api.event_record(begin_, nullptr), "cuEventRecord");
}

double Stopwatch::stop() {
  const Driver &driver = device_->driver();
  driver.check(driver.api.event_record(end_, nullptr), "cuEventRecord");
  driver.check(driver.api.event_synchronize(end_), "cuEventSynchronize");
  float milliseconds = 0;
  driver.check(driver.api.event_elapsed(&milliseconds, begin_, end_), "cuEventElapsedTime");
  return milliseconds;
}

} // namespace sale::bench
