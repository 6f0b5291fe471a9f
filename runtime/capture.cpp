// SPDX-License-Identifier: Apache-2.0
#include "runtime/capture.hpp"

#include <fmt/format.h>

namespace sale {

void require_no_capture(const Driver &driver, cu::Stream stream, const char *call) {
  cu::CaptureStatus status = cu::capture_none;
  const cu::Result result = driver.api.stream_capturing(stream, &status);
  if (result != cu::error_capture_implicit) {
    driver.check(result, "cuStreamIsCapturing");
    if (status == cu::capture_none) {
      return;
    }
  }
  throw Error(ErrorKind::capturing, fmt::format("{} was called while a stream is captured into a graph", call),
              {.where = "cuStreamIsCapturing",
               .advice = "prepare and profile before the capture begins; run, select and merge may be captured"});
}

RelaxedCapture::RelaxedCapture(const Driver &driver) : driver_(driver) {
  exchanged_ = driver_.api.exchange_capture_mode(&before_) == cu::success;
}

RelaxedCapture::~RelaxedCapture() {
  if (exchanged_) {
    driver_.api.exchange_capture_mode(&before_);
  }
}

} // namespace sale
