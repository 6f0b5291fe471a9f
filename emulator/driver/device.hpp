// SPDX-License-Identifier: Apache-2.0
// The emulated GPUs and their contexts.
#pragma once

#include "runtime/driver_api.hpp"

#include <atomic>
#include <string>

namespace sale::emulator {

/// What the driver says about a GPU and checks launches against (CUDA C++ Programming Guide, "Technical Specifications
/// per Compute Capability"). Not the generator's table: one of the two may be wrong.
struct DeviceFacts {
  int major;
  int minor;
  unsigned max_dynamic_shared; ///< Bytes, after cuFuncSetAttribute.

  std::string arch() const { return "sm_" + std::to_string(10 * major + minor); }
};

/// Few, so that persistent kernels take several items each.
inline constexpr int multiprocessors = 3;

int device_count();
/// Throws Failure(invalid_device).
const DeviceFacts &device(cu::Device ordinal);

/// The primary context of a device; throws Failure(invalid_device).
cu::Context retain_primary(cu::Device ordinal);
void release_primary(cu::Device ordinal);

/// The calling thread's contexts. current() is null when there is none.
cu::Context current();
void push(cu::Context context);
cu::Context pop();
/// current(), or Failure(invalid_context).
CUctx_st &require_context();

} // namespace sale::emulator

struct CUctx_st {
  int device = 0;
  std::atomic<int> references{0};
};
