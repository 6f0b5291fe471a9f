// SPDX-License-Identifier: Apache-2.0
#include "runtime/timeline.hpp"

namespace sale {

namespace {

double &time_of(StageTimes &times, Stage stage) {
  switch (stage) {
  case Stage::mean: return times.mean;
  case Stage::channels: return times.channels;
  case Stage::quantize: return times.quantize;
  case Stage::sequences: return times.sequences;
  case Stage::tails: return times.tails;
  case Stage::amax: return times.amax;
  case Stage::values: return times.values;
  case Stage::prepare: return times.prepare;
  case Stage::select: return times.select;
  case Stage::attend:
  case Stage::count:
  case Stage::merge: break; // which is no part of a call
  }
  return times.attend;
}

} // namespace

Timeline::Timeline(const Driver &driver, cu::Stream stream) : driver_(driver), stream_(stream), begin_(record()) {}

Timeline::~Timeline() {
  driver_.api.event_destroy(begin_);
  for (const auto &[stage, event] : marks_) {
    driver_.api.event_destroy(event);
  }
}

cu::Event Timeline::record() {
  cu::Event event = nullptr;
  driver_.check(driver_.api.event_create(&event, cu::event_default), "cuEventCreate");
  if (const cu::Result result = driver_.api.event_record(event, stream_); result != cu::success) {
    driver_.api.event_destroy(event);
    driver_.check(result, "cuEventRecord");
  }
  return event;
}

void Timeline::mark(Stage stage) { marks_.emplace_back(stage, record()); }

StageTimes Timeline::times() const {
  StageTimes times;
  cu::Event previous = begin_;
  for (const auto &[stage, event] : marks_) {
    driver_.check(driver_.api.event_synchronize(event), "cuEventSynchronize");
    float milliseconds = 0;
    driver_.check(driver_.api.event_elapsed(&milliseconds, previous, event), "cuEventElapsedTime");
    time_of(times, stage) += milliseconds;
    times.total += milliseconds;
    previous = event;
  }
  return times;
}

} // namespace sale
