// SPDX-License-Identifier: Apache-2.0
// A libcuda.so with no device behind it: it records what it is asked, so that launch order, arguments and the absence
// of forbidden calls are tested on any machine. Its own entry points below are reached through dlsym (FakeCuda).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sale {

struct FakeCall {
  std::string name;   ///< Exported symbol, "cuLaunchKernel".
  std::string kernel; ///< Launches: the entry's name.
  unsigned grid[3] = {};
  unsigned threads = 0;
  unsigned shared = 0;
  void *stream = nullptr;
  int capture_mode = 0;                 ///< Of the thread that called.
  std::vector<unsigned char> arguments; ///< Launches: a copy of the kernel's one argument.
};

/// What the fake writes into a tensor map.
struct FakeTensorMap {
  void *address = nullptr;
  std::uint64_t dimensions[4] = {};
  std::uint64_t strides[3] = {};
  std::uint32_t box[4] = {};
};
static_assert(sizeof(FakeTensorMap) <= 128, "a tensor map is 128 bytes");

struct FakeState {
  bool recording = true; ///< Off: calls succeed and the fake allocates nothing for them.
  std::vector<FakeCall> calls;
  std::string fail_call; ///< This symbol fails with `fail_result` ...
  int fail_result = 0;
  int fail_after = 0; ///< ... after this many calls that succeed.
  int compute_capability = 90;
  bool wgmma_family = false; ///< What arguments select and attend take.
  int device_count = 1;
  int context_device = 0; ///< The device of whatever context is current.
  int live_modules = 0;
  int live_events = 0;
  int primary_references = 0;
  std::size_t live_bytes = 0;
  void *capturing_stream = nullptr;   ///< One that is being captured ...
  bool capture_blocks_legacy = false; ///< ... and waits for the legacy stream.
  bool context_destroyed = false;     ///< Pushing a context is refused.
  std::vector<std::string> images;    ///< Every binary that was loaded.
};

} // namespace sale
