// SPDX-License-Identifier: Apache-2.0
#include "tests/runtime/fake_cuda.hpp"

#include "args/amax_args.cuh"
#include "args/attend_args.cuh"
#include "args/attend_wgmma_args.cuh"
#include "args/channels_args.cuh"
#include "args/count_args.cuh"
#include "args/mean_args.cuh"
#include "args/merge_args.cuh"
#include "args/prepare_args.cuh"
#include "args/quantize_args.cuh"
#include "args/select_args.cuh"
#include "args/select_wgmma_args.cuh"
#include "args/sequences_args.cuh"
#include "args/tails_args.cuh"
#include "args/values_args.cuh"
#include "runtime/driver_api.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

struct CUctx_st {};
struct CUmod_st {};
struct CUfunc_st {
  std::string entry;
};
struct CUevent_st {
  int time = 0;
};

namespace {

using namespace sale;
using namespace sale::cu;

// Tests that load the fake into another process describe its GPU through the environment.
FakeState initial_state() {
  FakeState initial;
  if (const char *capability = std::getenv("FAKE_CUDA_COMPUTE_CAPABILITY")) {
    initial.compute_capability = std::atoi(capability); // NOLINT(cert-err34-c): tests give a number
  }
  return initial;
}

FakeState state = initial_state();
std::mutex mutex;
CUctx_st primary;
thread_local std::vector<Context> contexts;
thread_local CaptureMode capture_mode = capture_global;
std::map<std::string, CUfunc_st> functions;
std::map<Address, std::size_t> allocations;
int clock_now = 0;

template <class Fill>
Result record(const char *name, const Fill &fill) {
  const std::scoped_lock lock(mutex);
  if (!state.recording) {
    return success;
  }
  FakeCall call;
  call.name = name;
  call.capture_mode = capture_mode;
  fill(call);
  state.calls.push_back(std::move(call));
  return name == state.fail_call && state.fail_after-- <= 0 ? state.fail_result : success;
}

Result record(const char *name) {
  return record(name, [](FakeCall &) {});
}

std::size_t argument_bytes(const std::string &entry) {
  static const std::map<std::string, std::size_t> sizes = {
      {"sale_mean", sizeof(MeanArgs)},           {"sale_quantize", sizeof(QuantizeArgs)},
      {"sale_prepare", sizeof(PrepareArgs)},     {"sale_select", sizeof(SelectArgs)},
      {"sale_attend", sizeof(AttendArgs)},       {"sale_channels", sizeof(ChannelsArgs)},
      {"sale_amax", sizeof(AmaxArgs)},           {"sale_values", sizeof(ValuesArgs)},
      {"sale_sequences", sizeof(SequencesArgs)}, {"sale_tails", sizeof(TailsArgs)},
      {"sale_merge", sizeof(MergeRowsArgs)},     {"sale_count", sizeof(CountArgs)}};
  static const std::map<std::string, std::size_t> of_wgmma = {{"sale_select", sizeof(SelectWgmmaArgs)},
                                                              {"sale_attend", sizeof(AttendWgmmaArgs)}};
  return state.wgmma_family && of_wgmma.contains(entry) ? of_wgmma.at(entry) : sizes.at(entry);
}

} // namespace

extern "C" {

FakeState *fake_cuda_state() { return &state; }
void fake_cuda_make_current(Context context) {
  contexts.clear();
  if (context != nullptr) {
    contexts.push_back(context);
  }
}

Result cuInit(unsigned) { return record("cuInit"); }
Result cuDriverGetVersion(int *version) {
  *version = 13000;
  return record("cuDriverGetVersion");
}
Result cuGetErrorName(Result result, const char **text) {
  *text = result == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : result == 100 ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR_FAKE";
  return success;
}
Result cuGetErrorString(Result result, const char **text) {
  *text = result == 2 ? "out of memory" : result == 100 ? "no CUDA-capable device is detected" : "a fake error";
  return success;
}
Result cuDeviceGetCount(int *count) {
  *count = state.device_count;
  return record("cuDeviceGetCount");
}
Result cuDeviceGet(Device *device, int ordinal) {
  *device = ordinal;
  return record("cuDeviceGet");
}
Result cuDeviceGetName(char *name, int bytes, Device) {
  std::strncpy(name, "Fake GPU", static_cast<std::size_t>(bytes));
  return record("cuDeviceGetName");
}
Result cuDeviceGetAttribute(int *value, DeviceAttribute attribute, Device) {
  *value = attribute == compute_capability_major   ? state.compute_capability / 10
           : attribute == compute_capability_minor ? state.compute_capability % 10
                                                   : 132;
  return record("cuDeviceGetAttribute");
}
Result cuDeviceTotalMem_v2(std::size_t *bytes, Device) {
  *bytes = std::size_t{80} << 30;
  return record("cuDeviceTotalMem_v2");
}
Result cuDevicePrimaryCtxRetain(Context *context, Device) {
  *context = &primary;
  ++state.primary_references;
  return record("cuDevicePrimaryCtxRetain");
}
Result cuDevicePrimaryCtxRelease_v2(Device) {
  --state.primary_references;
  return record("cuDevicePrimaryCtxRelease_v2");
}
Result cuCtxGetCurrent(Context *context) {
  *context = contexts.empty() ? nullptr : contexts.back();
  return record("cuCtxGetCurrent");
}
Result cuCtxGetDevice(Device *device) {
  *device = state.context_device;
  return record("cuCtxGetDevice");
}
Result cuCtxPushCurrent_v2(Context context) {
  if (state.context_destroyed) {
    return 709;
  }
  contexts.push_back(context);
  return record("cuCtxPushCurrent_v2");
}
Result cuCtxPopCurrent_v2(Context *context) {
  *context = contexts.back();
  contexts.pop_back();
  return record("cuCtxPopCurrent_v2");
}
Result cuModuleLoadDataEx(Module *module, const void *image, unsigned count, JitOption *options, void **values) {
  const Result result = record("cuModuleLoadDataEx");
  if (result != success) {
    for (unsigned i = 0; i < count; ++i) {
      if (options[i] == jit_error_log_buffer) {
        std::strcpy(static_cast<char *>(values[i]), "the driver's log");
      }
    }
    return result;
  }
  state.images.emplace_back(static_cast<const char *>(image));
  ++state.live_modules;
  *module = new CUmod_st;
  return success;
}
Result cuModuleUnload(Module module) {
  delete module;
  --state.live_modules;
  return record("cuModuleUnload");
}
Result cuModuleGetFunction(Function *function, Module, const char *name) {
  const Result result = record("cuModuleGetFunction");
  functions[name].entry = name;
  *function = &functions[name];
  return result;
}
Result cuFuncSetAttribute(Function, FunctionAttribute, int value) {
  return record("cuFuncSetAttribute", [&](FakeCall &call) { call.shared = static_cast<unsigned>(value); });
}
Result cuMemAlloc_v2(Address *address, std::size_t bytes) {
  const Result result = record("cuMemAlloc_v2");
  if (result == success) {
    const std::size_t rounded = (bytes + 255) / 256 * 256;
    *address = reinterpret_cast<Address>(std::memset(std::aligned_alloc(256, rounded), 0, rounded));
    allocations[*address] = bytes;
    state.live_bytes += bytes;
  }
  return result;
}
Result cuMemcpyDtoDAsync_v2(Address, Address, std::size_t, Stream stream) {
  return record("cuMemcpyDtoDAsync_v2", [&](FakeCall &call) { call.stream = stream; });
}
Result cuMemHostAlloc(void **memory, std::size_t bytes, unsigned flags) {
  const Result result = record("cuMemHostAlloc", [&](FakeCall &call) { call.shared = flags; });
  if (result == success) {
    *memory = std::calloc(1, bytes);
    state.live_bytes += bytes;
    allocations[reinterpret_cast<Address>(*memory)] = bytes;
  }
  return result;
}
Result cuMemFreeHost(void *memory) {
  state.live_bytes -= allocations.at(reinterpret_cast<Address>(memory));
  allocations.erase(reinterpret_cast<Address>(memory));
  std::free(memory);
  return record("cuMemFreeHost");
}
Result cuMemFree_v2(Address address) {
  state.live_bytes -= allocations.at(address);
  allocations.erase(address);
  std::free(reinterpret_cast<void *>(address));
  return record("cuMemFree_v2");
}
Result cuMemcpyHtoD_v2(Address to, const void *from, std::size_t bytes) {
  const Result result = record("cuMemcpyHtoD_v2");
  if (result == success) {
    std::memcpy(reinterpret_cast<void *>(to), from, bytes);
  }
  return result;
}
Result cuMemcpyDtoH_v2(void *to, Address from, std::size_t bytes) {
  std::memcpy(to, reinterpret_cast<const void *>(from), bytes);
  return record("cuMemcpyDtoH_v2");
}
Result cuMemsetD32Async(Address to, unsigned value, std::size_t words, Stream stream) {
  for (std::size_t i = 0; i < words; ++i) {
    reinterpret_cast<unsigned *>(to)[i] = value;
  }
  return record("cuMemsetD32Async", [&](FakeCall &call) { call.stream = stream; });
}
// Leaves what was asked in the map: address, rank, dimensions, strides, box.
Result cuTensorMapEncodeTiled(void *map, TensorMapType, unsigned rank, void *address, const std::uint64_t *dimensions,
                              const std::uint64_t *strides, const std::uint32_t *box, const std::uint32_t *,
                              TensorMapInterleave, TensorMapSwizzle, TensorMapPromotion, TensorMapFill) {
  FakeTensorMap fake;
  fake.address = address;
  for (unsigned i = 0; i < std::min(rank, 4U); ++i) {
    fake.dimensions[i] = dimensions[i];
    fake.box[i] = box[i];
    if (i > 0) {
      fake.strides[i - 1] = strides[i - 1];
    }
  }
  std::memcpy(map, &fake, sizeof fake);
  return record("cuTensorMapEncodeTiled");
}
Result cuLaunchKernel(Function function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned, unsigned,
                      unsigned shared, Stream stream, void **arguments, void **) {
  return record("cuLaunchKernel", [&](FakeCall &call) {
    call.kernel = function->entry;
    call.grid[0] = x;
    call.grid[1] = y;
    call.grid[2] = z;
    call.threads = threads;
    call.shared = shared;
    call.stream = stream;
    const auto *bytes = static_cast<const unsigned char *>(arguments[0]);
    call.arguments.assign(bytes, bytes + argument_bytes(call.kernel));
  });
}
Result cuStreamSynchronize(Stream) { return record("cuStreamSynchronize"); }
Result cuStreamIsCapturing(Stream stream, CaptureStatus *status) {
  const Result result = record("cuStreamIsCapturing", [&](FakeCall &call) { call.stream = stream; });
  if (result == success && stream == legacy_stream() && state.capture_blocks_legacy) {
    return error_capture_implicit;
  }
  *status = stream != nullptr && stream == state.capturing_stream ? capture_active : capture_none;
  return result;
}
Result cuThreadExchangeStreamCaptureMode(CaptureMode *mode) {
  std::swap(*mode, capture_mode);
  return record("cuThreadExchangeStreamCaptureMode");
}
Result cuEventCreate(Event *event, unsigned) {
  const Result result = record("cuEventCreate");
  if (result == success) {
    *event = new CUevent_st;
    ++state.live_events;
  }
  return result;
}
Result cuEventRecord(Event event, Stream) {
  event->time = ++clock_now;
  return record("cuEventRecord");
}
Result cuEventSynchronize(Event) { return record("cuEventSynchronize"); }
Result cuEventElapsedTime(float *milliseconds, Event begin, Event end) {
  *milliseconds = static_cast<float>(end->time - begin->time);
  return record("cuEventElapsedTime");
}
Result cuEventDestroy_v2(Event event) {
  delete event;
  --state.live_events;
  return record("cuEventDestroy_v2");
}

} // extern "C"
