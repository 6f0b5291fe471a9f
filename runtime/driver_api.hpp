// SPDX-License-Identifier: Apache-2.0
// The part of the CUDA driver's binary interface that libsale uses, declared by its documented types and values. Names
// live in sale::cu, so that a program may include cuda.h too.
#pragma once

#include <cstddef>
#include <cstdint>

struct CUctx_st;
struct CUmod_st;
struct CUfunc_st;
struct CUevent_st;
struct CUstream_st;

namespace sale::cu {

using Result = int;
inline constexpr Result success = 0;

using Device = int;
using Context = CUctx_st *;
using Module = CUmod_st *;
using Function = CUfunc_st *;
using Event = CUevent_st *;
using Stream = CUstream_st *;
using Address = unsigned long long; ///< CUdeviceptr

enum DeviceAttribute : int {
  multiprocessor_count = 16,
  compute_capability_major = 75,
  compute_capability_minor = 76,
};

enum FunctionAttribute : int { max_dynamic_shared_memory = 8 };

// Of cuTensorMapEncodeTiled.
enum TensorMapType : int { tensor_map_u8 = 0, tensor_map_f16 = 6, tensor_map_bf16 = 9 };
enum TensorMapInterleave : int { interleave_none = 0 };
enum TensorMapSwizzle : int { swizzle_none = 0, swizzle_32 = 1, swizzle_64 = 2, swizzle_128 = 3 };
enum TensorMapPromotion : int { promotion_none = 0, promotion_256 = 3 };
enum TensorMapFill : int { fill_zero = 0 };

/// Of cuMemHostAlloc: for every context, and mapped for the device.
inline constexpr unsigned host_memory_mapped = 3;
enum JitOption : int { jit_error_log_buffer = 5, jit_error_log_buffer_bytes = 6 };

inline constexpr unsigned event_default = 0;

enum CaptureStatus : int { capture_none = 0, capture_active = 1, capture_invalidated = 2 };
enum CaptureMode : int { capture_global = 0, capture_thread_local = 1, capture_relaxed = 2 };
/// What the legacy stream's status is while a stream that waits for it is captured.
inline constexpr Result error_capture_implicit = 906;
/// CU_STREAM_LEGACY: the legacy stream, whatever the null handle means here.
inline Stream legacy_stream() { return reinterpret_cast<Stream>(std::uintptr_t{1}); }

/// Every entry point, once: SALE_CU_CALL(name here, exported symbol, parameters). The _v2 symbols are what today's
/// headers map the plain names to.
#define SALE_CU_CALLS(SALE_CU_CALL)                                                                                    \
  SALE_CU_CALL(init, cuInit, unsigned flags)                                                                           \
  SALE_CU_CALL(driver_version, cuDriverGetVersion, int *version)                                                       \
  SALE_CU_CALL(error_name, cuGetErrorName, Result result, const char **text)                                           \
  SALE_CU_CALL(error_string, cuGetErrorString, Result result, const char **text)                                       \
  SALE_CU_CALL(device_count, cuDeviceGetCount, int *count)                                                             \
  SALE_CU_CALL(device_get, cuDeviceGet, Device *device, int ordinal)                                                   \
  SALE_CU_CALL(device_name, cuDeviceGetName, char *name, int bytes, Device device)                                     \
  SALE_CU_CALL(device_attribute, cuDeviceGetAttribute, int *value, DeviceAttribute attribute, Device device)           \
  SALE_CU_CALL(device_memory, cuDeviceTotalMem_v2, std::size_t *bytes, Device device)                                  \
  SALE_CU_CALL(primary_retain, cuDevicePrimaryCtxRetain, Context *context, Device device)                              \
  SALE_CU_CALL(primary_release, cuDevicePrimaryCtxRelease_v2, Device device)                                           \
  SALE_CU_CALL(context_current, cuCtxGetCurrent, Context *context)                                                     \
  SALE_CU_CALL(context_device, cuCtxGetDevice, Device *device)                                                         \
  SALE_CU_CALL(context_push, cuCtxPushCurrent_v2, Context context)                                                     \
  SALE_CU_CALL(context_pop, cuCtxPopCurrent_v2, Context *context)                                                      \
  SALE_CU_CALL(module_load, cuModuleLoadDataEx, Module *module, const void *image, unsigned num_options,               \
               JitOption *options, void **values)                                                                      \
  SALE_CU_CALL(module_unload, cuModuleUnload, Module module)                                                           \
  SALE_CU_CALL(module_function, cuModuleGetFunction, Function *function, Module module, const char *name)              \
  SALE_CU_CALL(function_set, cuFuncSetAttribute, Function function, FunctionAttribute attribute, int value)            \
  SALE_CU_CALL(memory_allocate, cuMemAlloc_v2, Address *address, std::size_t bytes)                                    \
  SALE_CU_CALL(memory_free, cuMemFree_v2, Address address)                                                             \
  SALE_CU_CALL(copy_to_device, cuMemcpyHtoD_v2, Address to, const void *from, std::size_t bytes)                       \
  SALE_CU_CALL(copy_to_host, cuMemcpyDtoH_v2, void *to, Address from, std::size_t bytes)                               \
  SALE_CU_CALL(copy_on_device, cuMemcpyDtoDAsync_v2, Address to, Address from, std::size_t bytes, Stream stream)       \
  SALE_CU_CALL(host_allocate, cuMemHostAlloc, void **memory, std::size_t bytes, unsigned flags)                        \
  SALE_CU_CALL(host_free, cuMemFreeHost, void *memory)                                                                 \
  SALE_CU_CALL(fill_words, cuMemsetD32Async, Address to, unsigned value, std::size_t words, Stream stream)             \
  SALE_CU_CALL(tensor_map_encode, cuTensorMapEncodeTiled, void *map, TensorMapType type, unsigned rank, void *address, \
               const std::uint64_t *dimensions, const std::uint64_t *strides, const std::uint32_t *box,                \
               const std::uint32_t *element_strides, TensorMapInterleave interleave, TensorMapSwizzle swizzle,         \
               TensorMapPromotion promotion, TensorMapFill fill)                                                       \
  SALE_CU_CALL(launch, cuLaunchKernel, Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z,           \
               unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes, Stream stream,             \
               void **arguments, void **extra)                                                                         \
  SALE_CU_CALL(stream_synchronize, cuStreamSynchronize, Stream stream)                                                 \
  SALE_CU_CALL(stream_capturing, cuStreamIsCapturing, Stream stream, CaptureStatus *status)                            \
  SALE_CU_CALL(exchange_capture_mode, cuThreadExchangeStreamCaptureMode, CaptureMode *mode)                            \
  SALE_CU_CALL(event_create, cuEventCreate, Event *event, unsigned flags)                                              \
  SALE_CU_CALL(event_record, cuEventRecord, Event event, Stream stream)                                                \
  SALE_CU_CALL(event_synchronize, cuEventSynchronize, Event event)                                                     \
  SALE_CU_CALL(event_elapsed, cuEventElapsedTime, float *milliseconds, Event begin, Event end)                         \
  SALE_CU_CALL(event_destroy, cuEventDestroy_v2, Event event)

/// Pointers to all of them.
struct Api {
#define SALE_CU_CALL(name, symbol, ...) Result (*name)(__VA_ARGS__) = nullptr;
  SALE_CU_CALLS(SALE_CU_CALL)
#undef SALE_CU_CALL
};

} // namespace sale::cu
