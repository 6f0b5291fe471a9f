// SPDX-License-Identifier: Apache-2.0
// What runs the test kernels: the emulator, or with SALE_TEST_DRIVER=libcuda.so.1 a Hopper GPU, for which NVRTC
// compiles.
#pragma once

#include "runtime/driver.hpp"
#include "runtime/shared_library.hpp"

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sale::test {

/// Device memory, poisoned where the test wrote nothing.
class DeviceBuffer {
public:
  DeviceBuffer(std::shared_ptr<const Driver> driver, std::size_t bytes);
  ~DeviceBuffer();
  DeviceBuffer(const DeviceBuffer &) = delete;
  DeviceBuffer &operator=(const DeviceBuffer &) = delete;

  template <class T>
  T *as() const {
    return reinterpret_cast<T *>(address_);
  }
  template <class T>
  std::vector<T> read() const {
    std::vector<T> values(bytes_ / sizeof(T));
    driver_->check(driver_->api.copy_to_host(values.data(), address_, bytes_), "cuMemcpyDtoH");
    return values;
  }
  void write(const void *from) const {
    driver_->check(driver_->api.copy_to_device(address_, from, bytes_), "cuMemcpyHtoD");
  }

private:
  std::shared_ptr<const Driver> driver_;
  cu::Address address_ = 0;
  std::size_t bytes_;
};

/// A tensor [heads, rows, channels] without gaps, cut into boxes of `box_rows` rows of `box_channels` channels, which
/// the copy engine swizzles in shared memory over a box's row.
struct TensorShape {
  int heads = 0;
  int rows = 0;
  int channels = 0;
  int element_bytes = 2; ///< 2: bf16; 1: bytes.
  int box_channels = 64;
  int box_rows = 64;
  int pages = 0; ///< Above 0: [pages, heads, rows, channels].
};

struct alignas(64) TensorMap {
  std::array<std::uint8_t, 128> opaque;
};

struct Grid {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};

class Device {
public:
  /// One for the process; throws Error where there is no such device.
  static Device &get();

  std::unique_ptr<DeviceBuffer> allocate(std::size_t bytes) const {
    return std::make_unique<DeviceBuffer>(driver_, bytes);
  }
  const Driver &driver() const { return *driver_; }

  template <class T>
  std::unique_ptr<DeviceBuffer> upload(const std::vector<T> &values) const {
    auto buffer = allocate(values.size() * sizeof(T));
    buffer->write(values.data());
    return buffer;
  }

  TensorMap tensor_map(const DeviceBuffer &buffer, const TensorShape &shape) const;

  /// Compiles (once per source) and runs; throws Error with the emulator's report when something is wrong.
  void run(const std::string &source, const char *entry, const Grid &grid, unsigned threads, unsigned shared_bytes,
           const std::vector<void *> &arguments);

  /// In which order the emulator runs threads from now on: 0 is always the same, others are random. GPUs have their
  /// own.
  void set_schedule(unsigned long long seed) const;
  /// Shared memory bank conflicts so far at lines of templates that name `opcode`; nothing where a GPU runs.
  std::optional<unsigned long long> bank_conflicts(const std::string &opcode) const;

private:
  Device();
  cu::Function function(const std::string &source, const char *entry);

  std::shared_ptr<const Driver> driver_;
  SharedLibrary library_;
  std::vector<std::pair<std::string, cu::Function>> functions_;
};

/// The machine code of a source for sm_90a, and what the compiler said. Throws Error without NVRTC or when it refuses.
struct HopperBinary {
  std::vector<char> cubin;
  std::string log;
};
HopperBinary compile_for_hopper(const std::string &source);

} // namespace sale::test
