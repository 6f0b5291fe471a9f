// SPDX-License-Identifier: Apache-2.0
#include "emulator/driver/device.hpp"

#include "emulator/driver/failure.hpp"

#include <fmt/format.h>

#include <array>
#include <vector>

namespace sale::emulator {

namespace {

// The one that has every kernel family first.
constexpr std::array<DeviceFacts, 6> devices = {
    {{9, 0, 227 << 10}, {8, 0, 163 << 10}, {8, 6, 99 << 10}, {8, 9, 99 << 10}, {10, 0, 227 << 10}, {12, 0, 99 << 10}}};

thread_local std::vector<cu::Context> contexts;

struct PrimaryContexts {
  PrimaryContexts() {
    for (int ordinal = 0; ordinal < device_count(); ++ordinal) {
      of[static_cast<std::size_t>(ordinal)].device = ordinal;
    }
  }
  std::array<CUctx_st, devices.size()> of;
};

CUctx_st &primary(cu::Device ordinal) {
  static PrimaryContexts contexts_of_devices;
  device(ordinal);
  return contexts_of_devices.of[static_cast<std::size_t>(ordinal)];
}

} // namespace

int device_count() { return static_cast<int>(devices.size()); }

const DeviceFacts &device(cu::Device ordinal) {
  if (ordinal < 0 || ordinal >= device_count()) {
    throw Failure{invalid_device,
                  fmt::format("there is no emulated device {}; they are 0 to {}", ordinal, device_count() - 1)};
  }
  return devices[static_cast<std::size_t>(ordinal)];
}

cu::Context retain_primary(cu::Device ordinal) {
  CUctx_st &context = primary(ordinal);
  ++context.references;
  return &context;
}

void release_primary(cu::Device ordinal) {
  CUctx_st &context = primary(ordinal);
  if (context.references-- <= 0) {
    ++context.references;
    throw Failure{invalid_context, "the primary context is released more often than it was retained"};
  }
}

cu::Context current() { return contexts.empty() ? nullptr : contexts.back(); }

void push(cu::Context context) {
  if (context == nullptr || context->references <= 0) {
    throw Failure{invalid_context, "the context that is made current is no retained primary context"};
  }
  contexts.push_back(context);
}

cu::Context pop() {
  CUctx_st &context = require_context();
  contexts.pop_back();
  return &context;
}

CUctx_st &require_context() {
  if (contexts.empty()) {
    throw Failure{invalid_context, "no context is current on this thread"};
  }
  return *contexts.back();
}

} // namespace sale::emulator
