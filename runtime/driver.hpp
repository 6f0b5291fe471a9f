// SPDX-License-Identifier: Apache-2.0
// The CUDA driver, opened at run time. `driver.check(driver.api.x(...), "cuX")` turns a refusal into a sale::Error.
#pragma once

#include "runtime/driver_api.hpp"
#include "sale/error.hpp"

#include <filesystem>
#include <memory>
#include <string>

namespace sale {

class Driver {
public:
  /// Opens and initialises the driver library; empty = libcuda.so.1 on the loader's path. Throws Error(not_found) when
  /// there is no driver or no device that it can use. Whoever opens it while others use it shares theirs.
  static std::shared_ptr<const Driver> open(const std::filesystem::path &library = {});

  cu::Api api;

  void check(cu::Result result, const char *call, ErrorKind kind = ErrorKind::launch) const {
    if (result != cu::success) {
      fail(result, call, kind, {});
    }
  }
  /// As check, with the driver's log and the kernel concerned; advice is added where `details` has none.
  void check(cu::Result result, const char *call, ErrorKind kind, ErrorDetails details) const;

  /// "CUDA_ERROR_OUT_OF_MEMORY (out of memory)"; of the emulator's reports the first line.
  std::string describe(cu::Result result) const;

  const std::filesystem::path &file() const { return file_; }
  /// Whether this is libsale's emulator (emulator/driver/): its devices load CUDA source.
  bool emulated() const { return emulated_; }
  /// The newest CUDA version that the driver supports, "13.0".
  std::string version() const;

private:
  Driver() = default;
  static std::shared_ptr<const Driver> load(const std::filesystem::path &name);
  [[noreturn]] void fail(cu::Result result, const char *call, ErrorKind kind, ErrorDetails details) const;

  std::filesystem::path file_;
  bool emulated_ = false;
};

} // namespace sale
