// SPDX-License-Identifier: Apache-2.0
// How a call of the emulated driver fails: by code across the C boundary, with a text that this thread may ask for.
#pragma once

#include "runtime/driver_api.hpp"

#include <exception>
#include <new>
#include <string>
#include <utility>

namespace sale::emulator {

/// The numbers are those of CUresult.
enum Code : cu::Result {
  invalid_value = 1,
  out_of_memory = 2,
  invalid_device = 101,
  invalid_image = 200,
  invalid_context = 201,
  invalid_source = 300,
  invalid_handle = 400,
  name_not_found = 500,
  launch_failed = 719,
  not_supported = 801,
  unknown_error = 999,
};

struct Failure {
  Code code;
  std::string text; ///< The first line says it all; more lines may follow.
};

/// Of the last call that failed on this thread.
const Failure &last_failure();
void remember(Failure failure);

/// "CUDA_ERROR_INVALID_VALUE"; null for codes that the emulator never returns.
const char *name_of(cu::Result result);

/// Runs `call`, which throws Failure; nothing passes the C boundary.
template <class Call>
cu::Result guarded(const Call &call) noexcept {
  try {
    try {
      call();
      return cu::success;
    } catch (const Failure &failure) {
      remember(failure);
      return failure.code;
    } catch (const std::bad_alloc &) {
      remember({out_of_memory, "out of memory"}); // so short that it needs no memory
      return out_of_memory;
    } catch (const std::exception &error) {
      remember({unknown_error, error.what()});
      return unknown_error;
    }
  } catch (...) {
    return unknown_error;
  }
}

} // namespace sale::emulator
