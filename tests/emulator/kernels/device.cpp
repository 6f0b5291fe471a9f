// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/kernels/device.hpp"

#include "runtime/nvrtc.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

namespace sale::test {

namespace {

// Of cuda.h.
constexpr int type_u8 = 0;
constexpr int type_bf16 = 9;
using EncodeTiled = int (*)(void *map, int type, std::uint32_t rank, void *address, const std::uint64_t *dimensions,
                            const std::uint64_t *strides, const std::uint32_t *box,
                            const std::uint32_t *element_strides, int interleave, int swizzle, int l2_promotion,
                            int out_of_bounds_fill);

int swizzle_of(int row_bytes) {
  switch (row_bytes) {
  case 32: return 1;
  case 64: return 2;
  case 128: return 3;
  }
  throw Error(ErrorKind::invalid_argument,
              fmt::format("rows of {} bytes are not swizzled, those of 32, 64 and 128 are", row_bytes));
}

} // namespace

DeviceBuffer::DeviceBuffer(std::shared_ptr<const Driver> driver, std::size_t bytes)
    : driver_(std::move(driver)), bytes_(bytes) {
  driver_->check(driver_->api.memory_allocate(&address_, bytes), "cuMemAlloc");
  driver_->check(driver_->api.fill_words(address_, ~0U, bytes / 4, nullptr), "cuMemsetD32Async");
  driver_->check(driver_->api.stream_synchronize(nullptr), "cuStreamSynchronize");
}

DeviceBuffer::~DeviceBuffer() { driver_->api.memory_free(address_); }

Device::Device() {
  const char *requested = std::getenv("SALE_TEST_DRIVER");
  driver_ = Driver::open(requested != nullptr ? requested : SALE_TEST_DRIVER);
  library_ = SharedLibrary::open(driver_->file());
  cu::Device device = 0;
  cu::Context context = nullptr;
  int major = 0;
  driver_->check(driver_->api.device_get(&device, 0), "cuDeviceGet");
  driver_->check(driver_->api.device_attribute(&major, cu::compute_capability_major, device), "cuDeviceGetAttribute");
  if (major != 9) {
    throw Error(ErrorKind::not_found, "device 0 is no Hopper GPU");
  }
  driver_->check(driver_->api.primary_retain(&context, device), "cuDevicePrimaryCtxRetain");
  driver_->check(driver_->api.context_push(context), "cuCtxPushCurrent");
}

Device &Device::get() {
  static Device device;
  return device;
}

void Device::set_schedule(unsigned long long seed) const {
  if (void *set_seed = library_.symbol("saleEmulatorSetSeed")) {
    reinterpret_cast<void (*)(unsigned long long)>(set_seed)(seed);
  }
}

std::optional<unsigned long long> Device::bank_conflicts(const std::string &opcode) const {
  const auto statistics = reinterpret_cast<const char *(*)()>(library_.symbol("saleEmulatorStatistics"));
  if (statistics == nullptr) {
    return std::nullopt;
  }
  // Lines of accesses, conflicts, site.
  std::istringstream lines(statistics());
  unsigned long long total = 0;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    unsigned long long accesses = 0;
    unsigned long long conflicts = 0;
    if (fields >> accesses >> conflicts && line.find(opcode) != std::string::npos) {
      total += conflicts;
    }
  }
  return total;
}

TensorMap Device::tensor_map(const DeviceBuffer &buffer, const TensorShape &shape) const {
  const auto encode = reinterpret_cast<EncodeTiled>(library_.symbol("cuTensorMapEncodeTiled"));
  if (encode == nullptr) {
    throw Error(ErrorKind::not_found, fmt::format("{} has no cuTensorMapEncodeTiled", driver_->file().string()));
  }
  const auto wide = [](int value) { return static_cast<std::uint64_t>(value); };
  const std::uint64_t dimensions[4] = {wide(shape.channels), wide(shape.rows), wide(shape.heads), wide(shape.pages)};
  const std::uint64_t row_bytes = wide(shape.channels) * wide(shape.element_bytes);
  const std::uint64_t strides[3] = {row_bytes, row_bytes * dimensions[1], row_bytes * dimensions[1] * dimensions[2]};
  const std::uint32_t box[4] = {static_cast<std::uint32_t>(shape.box_channels),
                                static_cast<std::uint32_t>(shape.box_rows), 1, 1};
  const std::uint32_t ones[4] = {1, 1, 1, 1};
  TensorMap map{};
  driver_->check(encode(map.opaque.data(), shape.element_bytes == 2 ? type_bf16 : type_u8, shape.pages > 0 ? 4U : 3U,
                        buffer.as<void>(), dimensions, strides, box, ones, 0,
                        swizzle_of(shape.box_channels * shape.element_bytes), 0, 0),
                 "cuTensorMapEncodeTiled");
  return map;
}

cu::Function Device::function(const std::string &source, const char *entry) {
  const auto known =
      std::find_if(functions_.begin(), functions_.end(), [&](const auto &f) { return f.first == source; });
  if (known != functions_.end()) {
    return known->second;
  }
  const HopperBinary binary = driver_->emulated() ? HopperBinary{} : compile_for_hopper(source);
  cu::Module module = nullptr;
  cu::Function function = nullptr;
  driver_->check(driver_->api.module_load(&module, driver_->emulated() ? source.c_str() : binary.cubin.data(), 0,
                                          nullptr, nullptr),
                 "cuModuleLoadDataEx", ErrorKind::load);
  driver_->check(driver_->api.module_function(&function, module, entry), "cuModuleGetFunction", ErrorKind::load);
  functions_.emplace_back(source, function);
  return function;
}

void Device::run(const std::string &source, const char *entry, const Grid &grid, unsigned threads,
                 unsigned shared_bytes, const std::vector<void *> &arguments) {
  const cu::Function kernel = function(source, entry);
  driver_->check(driver_->api.function_set(kernel, cu::max_dynamic_shared_memory, static_cast<int>(shared_bytes)),
                 "cuFuncSetAttribute");
  std::vector<void *> copy = arguments;
  driver_->check(
      driver_->api.launch(kernel, grid.x, grid.y, grid.z, threads, 1, 1, shared_bytes, nullptr, copy.data(), nullptr),
      "cuLaunchKernel");
  driver_->check(driver_->api.stream_synchronize(nullptr), "cuStreamSynchronize");
}

HopperBinary compile_for_hopper(const std::string &source) {
  const std::shared_ptr<const Nvrtc> nvrtc = Nvrtc::open(locate_nvrtc({}));
  const nvrtc::Api &api = nvrtc->api;
  nvrtc::Program program = nullptr;
  api.create(&program, source.c_str(), "kernel.cu", 0, nullptr, nullptr);
  std::vector<const char *> options = {"--gpu-architecture=sm_90a", "--std=c++17", "--ptxas-options=-v"};
  if (nvrtc->caches()) {
    options.push_back("--no-cache"); // what is cached comes without its log
  }
  const nvrtc::Result result = api.compile(program, static_cast<int>(options.size()), options.data());
  HopperBinary binary;
  std::size_t bytes = 0;
  api.log_size(program, &bytes);
  binary.log.resize(bytes);
  api.log(program, binary.log.data());
  if (result == nvrtc::success) {
    api.cubin_size(program, &bytes);
    binary.cubin.resize(bytes);
    api.cubin(program, binary.cubin.data());
  }
  api.destroy(&program);
  if (result != nvrtc::success) {
    throw Error(ErrorKind::compile, fmt::format("NVRTC refuses a test kernel: {}", binary.log));
  }
  return binary;
}

} // namespace sale::test
