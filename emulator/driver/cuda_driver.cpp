// SPDX-License-Identifier: Apache-2.0
// The CUDA driver's functions as runtime/driver_api.hpp lists them, answered by the emulator. Everything is done before
// a call returns, so streams and events have little to do.
#include "emulator/driver/device.hpp"
#include "emulator/driver/failure.hpp"
#include "emulator/driver/module.hpp"
#include "emulator/machine/global_memory.hpp"

#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

using namespace sale;
using namespace sale::cu;
using namespace sale::emulator;

struct CUevent_st {
  std::optional<std::chrono::steady_clock::time_point> time;
};

#define SALE_CU_CALL(name, symbol, ...) __attribute__((visibility("default"))) Result symbol(__VA_ARGS__);
extern "C" {
SALE_CU_CALLS(SALE_CU_CALL)
}
#undef SALE_CU_CALL

namespace {

template <class T>
void require(const T *pointer, const char *what) {
  if (pointer == nullptr) {
    throw Failure{invalid_value, fmt::format("{} is null", what)};
  }
}

// Device memory of [address, address + bytes), or Failure.
void *device_range(Address address, std::size_t bytes, const char *call) {
  require_context();
  auto *pointer = reinterpret_cast<void *>(address);
  if (bytes != 0 && !is_global(pointer, bytes)) {
    throw Failure{invalid_value,
                  fmt::format("{} of {} bytes at {:#x}, which are not within one allocation", call, bytes, address)};
  }
  return pointer;
}

CUevent_st &recorded(Event event) {
  if (event == nullptr || !event->time) {
    throw Failure{invalid_handle, "the event was never recorded"};
  }
  return *event;
}

// The driver writes its log of a failed load into the caller's buffer.
void write_log(const std::string &text, unsigned num_options, const JitOption *options, void *const *values) {
  char *buffer = nullptr;
  std::size_t bytes = 0;
  for (unsigned i = 0; i < num_options; ++i) {
    if (options[i] == jit_error_log_buffer) {
      buffer = static_cast<char *>(values[i]);
    } else if (options[i] == jit_error_log_buffer_bytes) {
      bytes = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(values[i]));
    }
  }
  if (buffer != nullptr && bytes != 0) {
    const std::size_t length = std::min(bytes - 1, text.size());
    std::memcpy(buffer, text.data(), length);
    buffer[length] = '\0';
  }
}

} // namespace

extern "C" {

Result cuInit(unsigned) { return success; }

Result cuDriverGetVersion(int *version) {
  return guarded([&] {
    require(version, "the version");
    *version = 13000;
  });
}

Result cuGetErrorName(Result result, const char **text) {
  *text = name_of(result);
  return *text != nullptr ? success : static_cast<Result>(invalid_value);
}

Result cuGetErrorString(Result result, const char **text) {
  // This thread's own story of the failure says more than the code.
  *text = last_failure().code == result ? last_failure().text.c_str() : name_of(result);
  return *text != nullptr ? success : static_cast<Result>(invalid_value);
}

Result cuDeviceGetCount(int *count) {
  return guarded([&] {
    require(count, "the count");
    *count = device_count();
  });
}

Result cuDeviceGet(Device *device, int ordinal) {
  return guarded([&] {
    require(device, "the device");
    emulator::device(ordinal);
    *device = ordinal;
  });
}

Result cuDeviceGetName(char *name, int bytes, Device device) {
  return guarded([&] {
    require(name, "the name");
    const std::string text = "Emulated " + emulator::device(device).arch();
    if (bytes > 0) {
      const std::size_t length = std::min(static_cast<std::size_t>(bytes) - 1, text.size());
      std::memcpy(name, text.data(), length);
      name[length] = '\0';
    }
  });
}

Result cuDeviceGetAttribute(int *value, DeviceAttribute attribute, Device device) {
  return guarded([&] {
    require(value, "the value");
    const DeviceFacts &facts = emulator::device(device);
    switch (attribute) {
    case multiprocessor_count: *value = emulator::multiprocessors; return;
    case compute_capability_major: *value = facts.major; return;
    case compute_capability_minor: *value = facts.minor; return;
    }
    throw Failure{not_supported,
                  fmt::format("the emulated device does not know attribute {}", static_cast<int>(attribute))};
  });
}

Result cuDeviceTotalMem_v2(std::size_t *bytes, Device device) {
  return guarded([&] {
    require(bytes, "the size");
    emulator::device(device);
    *bytes = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGE_SIZE));
  });
}

Result cuDevicePrimaryCtxRetain(Context *context, Device device) {
  return guarded([&] {
    require(context, "the context");
    *context = retain_primary(device);
  });
}

Result cuDevicePrimaryCtxRelease_v2(Device device) {
  return guarded([&] { release_primary(device); });
}

Result cuCtxGetCurrent(Context *context) {
  return guarded([&] {
    require(context, "the context");
    *context = current();
  });
}

Result cuCtxGetDevice(Device *device) {
  return guarded([&] {
    require(device, "the device");
    *device = require_context().device;
  });
}

Result cuCtxPushCurrent_v2(Context context) {
  return guarded([&] { push(context); });
}

Result cuCtxPopCurrent_v2(Context *context) {
  return guarded([&] {
    const Context popped = pop();
    if (context != nullptr) {
      *context = popped;
    }
  });
}

Result cuModuleLoadDataEx(Module *module, const void *image, unsigned num_options, JitOption *options, void **values) {
  const Result result = guarded([&] {
    require(module, "the module");
    require(image, "the source");
    *module = load_module(static_cast<const char *>(image));
  });
  if (result != success && last_failure().code == result) {
    write_log(last_failure().text, num_options, options, values);
  }
  return result;
}

Result cuModuleUnload(Module module) {
  return guarded([&] {
    require(module, "the module");
    const std::unique_ptr<CUmod_st> owner(module);
  });
}

Result cuModuleGetFunction(Function *function, Module module, const char *name) {
  return guarded([&] {
    require(function, "the function");
    *function = find_function(module, name);
  });
}

Result cuFuncSetAttribute(Function function, FunctionAttribute attribute, int value) {
  return guarded([&] {
    if (attribute != max_dynamic_shared_memory) {
      throw Failure{not_supported,
                    fmt::format("the emulator does not know function attribute {}", static_cast<int>(attribute))};
    }
    set_max_dynamic_shared(function, value);
  });
}

Result cuMemAlloc_v2(Address *address, std::size_t bytes) {
  return guarded([&] {
    require_context();
    require(address, "the address");
    if (bytes == 0) {
      throw Failure{invalid_value, "an allocation of 0 bytes"};
    }
    void *memory = allocate_global(bytes);
    if (memory == nullptr) {
      throw Failure{out_of_memory, fmt::format("this machine has no {} bytes for the emulated device", bytes)};
    }
    *address = reinterpret_cast<Address>(memory);
  });
}

Result cuMemFree_v2(Address address) {
  return guarded([&] {
    require_context();
    if (address != 0 && !free_global(reinterpret_cast<void *>(address))) {
      throw Failure{invalid_value, fmt::format("{:#x} is freed, but no allocation starts there", address)};
    }
  });
}

// The device's memory is the machine's own.
Result cuMemHostAlloc(void **memory, std::size_t bytes, unsigned /*flags*/) {
  return cuMemAlloc_v2(reinterpret_cast<Address *>(memory), bytes);
}

Result cuMemFreeHost(void *memory) { return cuMemFree_v2(reinterpret_cast<Address>(memory)); }

Result cuMemcpyHtoD_v2(Address to, const void *from, std::size_t bytes) {
  return guarded([&] {
    void *destination = device_range(to, bytes, "cuMemcpyHtoD");
    if (bytes != 0) {
      require(from, "the host memory of cuMemcpyHtoD");
      std::memcpy(destination, from, bytes);
    }
  });
}

Result cuMemcpyDtoDAsync_v2(Address to, Address from, std::size_t bytes, Stream /*stream*/) {
  return guarded([&] {
    void *destination = device_range(to, bytes, "cuMemcpyDtoDAsync");
    std::memmove(destination, device_range(from, bytes, "cuMemcpyDtoDAsync"), bytes);
  });
}

Result cuMemcpyDtoH_v2(void *to, Address from, std::size_t bytes) {
  return guarded([&] {
    const void *source = device_range(from, bytes, "cuMemcpyDtoH");
    if (bytes != 0) {
      require(to, "the host memory of cuMemcpyDtoH");
      std::memcpy(to, source, bytes);
    }
  });
}

Result cuMemsetD32Async(Address to, unsigned value, std::size_t words, Stream) {
  return guarded([&] {
    auto *destination = static_cast<unsigned *>(device_range(to, 4 * words, "cuMemsetD32Async"));
    if (to % 4 != 0) {
      throw Failure{invalid_value, fmt::format("cuMemsetD32Async at {:#x}, which is no multiple of 4", to)};
    }
    std::fill_n(destination, words, value);
  });
}

Result cuLaunchKernel(Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                      unsigned block_y, unsigned block_z, unsigned shared_bytes, Stream, void **arguments,
                      void **extra) {
  return guarded([&] {
    if (extra != nullptr) {
      throw Failure{not_supported, "the emulator takes a kernel's arguments as an array of pointers"};
    }
    launch_function(function, {{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes}, arguments);
  });
}

Result cuStreamSynchronize(Stream) {
  return guarded([&] { require_context(); });
}

// Graphs are not emulated, so no stream ever is captured.
Result cuStreamIsCapturing(Stream, CaptureStatus *status) {
  return guarded([&] {
    require_context();
    require(status, "the capture status");
    *status = capture_none;
  });
}

Result cuThreadExchangeStreamCaptureMode(CaptureMode *mode) {
  return guarded([&] {
    require(mode, "the capture mode");
    thread_local CaptureMode current = capture_global;
    std::swap(current, *mode);
  });
}

Result cuEventCreate(Event *event, unsigned) {
  return guarded([&] {
    require_context();
    require(event, "the event");
    *event = std::make_unique<CUevent_st>().release();
  });
}

Result cuEventRecord(Event event, Stream) {
  return guarded([&] {
    require(event, "the event");
    event->time = std::chrono::steady_clock::now();
  });
}

Result cuEventSynchronize(Event event) {
  return guarded([&] { require(event, "the event"); });
}

Result cuEventElapsedTime(float *milliseconds, Event begin, Event end) {
  return guarded([&] {
    require(milliseconds, "the time");
    const std::chrono::duration<float, std::milli> elapsed = *recorded(end).time - *recorded(begin).time;
    *milliseconds = elapsed.count();
  });
}

Result cuEventDestroy_v2(Event event) {
  return guarded([&] {
    require(event, "the event");
    const std::unique_ptr<CUevent_st> owner(event);
  });
}

} // extern "C"
