// SPDX-License-Identifier: Apache-2.0
#include "emulator/driver/failure.hpp"

namespace sale::emulator {

namespace {

Failure &slot() {
  thread_local Failure failure{static_cast<Code>(cu::success), ""};
  return failure;
}

} // namespace

const Failure &last_failure() { return slot(); }

void remember(Failure failure) { slot() = std::move(failure); }

const char *name_of(cu::Result result) {
  switch (result) {
  case cu::success: return "CUDA_SUCCESS";
  case invalid_value: return "CUDA_ERROR_INVALID_VALUE";
  case out_of_memory: return "CUDA_ERROR_OUT_OF_MEMORY";
  case invalid_device: return "CUDA_ERROR_INVALID_DEVICE";
  case invalid_image: return "CUDA_ERROR_INVALID_IMAGE";
  case invalid_context: return "CUDA_ERROR_INVALID_CONTEXT";
  case invalid_source: return "CUDA_ERROR_INVALID_SOURCE";
  case invalid_handle: return "CUDA_ERROR_INVALID_HANDLE";
  case name_not_found: return "CUDA_ERROR_NOT_FOUND";
  case launch_failed: return "CUDA_ERROR_LAUNCH_FAILED";
  case not_supported: return "CUDA_ERROR_NOT_SUPPORTED";
  case unknown_error: return "CUDA_ERROR_UNKNOWN";
  default: return nullptr;
  }
}

} // namespace sale::emulator
