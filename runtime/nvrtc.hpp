// SPDX-License-Identifier: Apache-2.0
// NVRTC, opened at run time: its interface, its version and the architectures it compiles for.
#pragma once

#include "runtime/nvrtc_search.hpp"

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace sale {

namespace nvrtc {

using Result = int;
inline constexpr Result success = 0;
inline constexpr Result error_out_of_memory = 1;
using Program = struct OpaqueProgram *;

/// SALE_NVRTC_CALL(name here, exported symbol, parameters)
#define SALE_NVRTC_CALLS(SALE_NVRTC_CALL)                                                                              \
  SALE_NVRTC_CALL(version, nvrtcVersion, int *major, int *minor)                                                       \
  SALE_NVRTC_CALL(num_archs, nvrtcGetNumSupportedArchs, int *count)                                                    \
  SALE_NVRTC_CALL(archs, nvrtcGetSupportedArchs, int *archs)                                                           \
  SALE_NVRTC_CALL(create, nvrtcCreateProgram, Program *program, const char *source, const char *name, int num_headers, \
                  const char *const *headers, const char *const *include_names)                                        \
  SALE_NVRTC_CALL(destroy, nvrtcDestroyProgram, Program *program)                                                      \
  SALE_NVRTC_CALL(compile, nvrtcCompileProgram, Program program, int num_options, const char *const *options)          \
  SALE_NVRTC_CALL(log_size, nvrtcGetProgramLogSize, Program program, std::size_t *bytes)                               \
  SALE_NVRTC_CALL(log, nvrtcGetProgramLog, Program program, char *text)                                                \
  SALE_NVRTC_CALL(cubin_size, nvrtcGetCUBINSize, Program program, std::size_t *bytes)                                  \
  SALE_NVRTC_CALL(cubin, nvrtcGetCUBIN, Program program, char *bytes)                                                  \
  SALE_NVRTC_CALL(ptx_size, nvrtcGetPTXSize, Program program, std::size_t *bytes)                                      \
  SALE_NVRTC_CALL(ptx, nvrtcGetPTX, Program program, char *bytes)

struct Api {
#define SALE_NVRTC_CALL(name, symbol, ...) Result (*name)(__VA_ARGS__) = nullptr;
  SALE_NVRTC_CALLS(SALE_NVRTC_CALL)
#undef SALE_NVRTC_CALL
  const char *(*error_string)(Result result) = nullptr;
  /// Null before 12.8.
  Result (*set_flow_callback)(Program program, int (*callback)(void *payload, void *reserved), void *payload) = nullptr;
};

} // namespace nvrtc

class Nvrtc {
public:
  /// Throws Error(not_found) when the files are no working NVRTC.
  static std::shared_ptr<const Nvrtc> open(const NvrtcFiles &files);

  nvrtc::Api api;

  const NvrtcFiles &files() const { return files_; }
  /// "13.0", as the library itself says.
  const std::string &version() const { return version_; }
  /// It has a cache of its own (on disk, with a driver), and the option to go without.
  bool caches() const { return caches_; }
  /// Ascending, as 10 * major + minor.
  const std::vector<int> &archs() const { return archs_; }

private:
  Nvrtc() = default;
  NvrtcFiles files_;
  std::string version_;
  bool caches_ = false;
  std::vector<int> archs_;
};

/// The NVRTC that this machine would use; throws Error(not_found) that says where it was looked for and how to get one.
NvrtcFiles locate_nvrtc(const std::filesystem::path &requested,
                        const SearchEnvironment &environment = SearchEnvironment::of_process());

} // namespace sale
