// SPDX-License-Identifier: Apache-2.0
// The stand-ins for driver and compiler, and an Engine that uses them.
#pragma once

#include "runtime/driver_api.hpp"
#include "sale/sale.hpp"
#include "tests/cache/sample_entry.hpp"
#include "tests/runtime/fake_cuda.hpp"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <gtest/gtest.h>

namespace sale {

template <class Function>
Function fake_symbol(const char *library, const char *name) {
  void *handle = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
  return reinterpret_cast<Function>(::dlsym(handle, name));
}

inline FakeState &fake_cuda() { return *fake_symbol<FakeState *(*)()>(FAKE_CUDA, "fake_cuda_state")(); }

inline void make_current(cu::Context context) {
  fake_symbol<void (*)(cu::Context)>(FAKE_CUDA, "fake_cuda_make_current")(context);
}

inline int fake_compiles() { return fake_symbol<int (*)()>(FAKE_NVRTC, "fake_nvrtc_compiles")(); }
inline int fake_compiles_ended_early() { return fake_symbol<int (*)()>(FAKE_NVRTC, "fake_nvrtc_ended_early")(); }
/// The most that ran at once since fake_compiles_take.
inline int fake_compiles_at_once() { return fake_symbol<int (*)()>(FAKE_NVRTC, "fake_nvrtc_most_running")(); }
inline void fake_compiles_take(int milliseconds) {
  fake_symbol<void (*)(int)>(FAKE_NVRTC, "fake_nvrtc_take")(milliseconds);
}

/// A fresh fake machine and an empty cache for each test.
class FakeMachine : public testing::Test {
protected:
  FakeMachine() {
    fake_cuda() = FakeState();
    fake_compiles_take(0);
    make_current(nullptr);
  }
  ~FakeMachine() override { make_current(nullptr); }

  Options options() {
    Options options;
    options.cuda_driver = FAKE_CUDA;
    options.nvrtc = FAKE_NVRTC;
    options.system_cache_dir = folder_.path() / "system";
    options.cache_dir = folder_.path() / "cache";
    options.jobs = 2;
    options.log = [this](LogLevel, const std::string &sentence) { warnings_.push_back(sentence); };
    return options;
  }

  TemporaryFolder folder_;
  std::vector<std::string> warnings_;
};

/// An environment variable, set while this lives.
class SetVariable {
public:
  SetVariable(const char *name, const std::string &value) : name_(name) { ::setenv(name, value.c_str(), 1); }
  ~SetVariable() { ::unsetenv(name_); }
  SetVariable(const SetVariable &) = delete;
  SetVariable &operator=(const SetVariable &) = delete;

private:
  const char *name_;
};

/// The message of the sale::Error that `action` throws; fails the test when it throws none.
template <class Action>
Error error_of(const Action &action) {
  try {
    action();
  } catch (const Error &error) {
    return error;
  }
  ADD_FAILURE() << "no sale::Error was thrown";
  return {ErrorKind::cache, "none"};
}

template <class Args>
Args arguments_of(const FakeCall &call) {
  Args args{};
  EXPECT_EQ(call.arguments.size(), sizeof args);
  std::memcpy(&args, call.arguments.data(), std::min(sizeof args, call.arguments.size()));
  return args;
}

} // namespace sale
