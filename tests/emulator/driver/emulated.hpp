// SPDX-License-Identifier: Apache-2.0
// The emulator's driver, opened as the runtime opens it.
#pragma once

#include "runtime/device.hpp"
#include "runtime/driver.hpp"

#include <gtest/gtest.h>

#include <string>

namespace sale {

inline constexpr cu::Result invalid_value = 1;
inline constexpr cu::Result invalid_context = 201;
inline constexpr cu::Result invalid_source = 300;
inline constexpr cu::Result launch_failed = 719;

/// A test with an emulated device's context current.
class Emulated : public testing::Test {
protected:
  std::string text_of(cu::Result result) const {
    const char *text = nullptr;
    api.error_string(result, &text);
    return text != nullptr ? text : "";
  }
  static bool has(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

  std::shared_ptr<const Driver> driver = Driver::open(SALE_EMULATOR_LIBRARY);
  const cu::Api &api = driver->api;
  Device device{driver, 0};
  CurrentContext current{device};
};

} // namespace sale
