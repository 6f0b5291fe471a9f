// SPDX-License-Identifier: Apache-2.0
#include "runtime/nvrtc.hpp"

#include "runtime/build_id.hpp"
#include "runtime/shared_library.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <system_error>
#include <utility>

namespace sale {

namespace {

constexpr const char *how_to_get_one = "install it with `pip install nvidia-cuda-nvrtc` or a CUDA 12 or 13 toolkit, or "
                                       "name its folder (Options.nvrtc, --nvrtc or SALE_NVRTC)";

[[noreturn]] void unusable(const NvrtcFiles &files, const char *where, const std::string &why) {
  throw Error(ErrorKind::not_found, fmt::format("{} is not a usable NVRTC: {}", files.library.string(), why),
              {.where = where, .advice = how_to_get_one});
}

template <class Function>
void resolve(const SharedLibrary &library, const NvrtcFiles &files, const char *symbol, Function &function) {
  function = reinterpret_cast<Function>(library.symbol(symbol));
  if (function == nullptr) {
    unusable(files, "dlsym", fmt::format("it has no {}", symbol));
  }
}

} // namespace

std::shared_ptr<const Nvrtc> Nvrtc::open(const NvrtcFiles &files) {
  // Opened first so that NVRTC finds it wherever the folder is; if it cannot be opened, NVRTC's own message is better.
  SharedLibrary::open(files.builtins);
  // By its real name: the loader takes a name that it knows for the file that it loaded then, whatever a link says now.
  std::error_code unresolved;
  const std::filesystem::path real = std::filesystem::canonical(files.library, unresolved);
  const SharedLibrary library = SharedLibrary::open(unresolved ? files.library : real);
  if (!library) {
    unusable(files, "dlopen", library.problem());
  }
  std::shared_ptr<Nvrtc> opened(new Nvrtc);
  opened->files_ = files;
  nvrtc::Api &api = opened->api;
#define SALE_NVRTC_CALL(member, symbol, ...) resolve(library, files, #symbol, api.member);
  SALE_NVRTC_CALLS(SALE_NVRTC_CALL)
#undef SALE_NVRTC_CALL
  resolve(library, files, "nvrtcGetErrorString", api.error_string);
  api.set_flow_callback = reinterpret_cast<decltype(api.set_flow_callback)>(library.symbol("nvrtcSetFlowCallback"));

  // Kernels are filed under the build that was read from the file.
  const std::string loaded = loaded_build_id(reinterpret_cast<const void *>(api.version));
  if (!loaded.empty() && loaded != files.build) {
    unusable(files, "dlopen", "this process loaded it before the file was replaced");
  }

  const auto check = [&](nvrtc::Result result, const char *call) {
    if (result != nvrtc::success) {
      unusable(files, call, fmt::format("{} failed with {}", call, api.error_string(result)));
    }
  };
  int major = 0;
  int minor = 0;
  check(api.version(&major, &minor), "nvrtcVersion");
  opened->version_ = fmt::format("{}.{}", major, minor);
  if (opened->version_ != files.version) {
    unusable(files, "nvrtcVersion",
             fmt::format("it is version {}, the builtins library beside it, {}, is for {}", opened->version_,
                         files.builtins.filename().string(), files.version));
  }
  opened->caches_ = major > 12 || minor >= 9; // 12.9 is the first
  int count = 0;
  check(api.num_archs(&count), "nvrtcGetNumSupportedArchs");
  if (count < 1 || count > 1000) {
    unusable(files, "nvrtcGetNumSupportedArchs", fmt::format("it claims to support {} architectures", count));
  }
  opened->archs_.resize(static_cast<std::size_t>(count));
  check(api.archs(opened->archs_.data()), "nvrtcGetSupportedArchs");
  return opened;
}

NvrtcFiles locate_nvrtc(const std::filesystem::path &requested, const SearchEnvironment &environment) {
  NvrtcSearchResult search = find_nvrtc(nvrtc_places(requested, environment));
  if (!search.files && requested.empty() && environment.variable("SALE_NVRTC").empty()) {
    NvrtcSearchResult more = find_nvrtc(loader_places(environment));
    search.files = std::move(more.files);
    search.searched.insert(search.searched.end(), more.searched.begin(), more.searched.end());
  }
  if (search.files) {
    return *search.files;
  }
  const std::string what =
      requested.empty() ? "no NVRTC found" : fmt::format("{} is not a usable NVRTC", requested.string());
  throw Error(
      ErrorKind::not_found, fmt::format("{}: {}", what, fmt::join(search.searched, ", ")),
      {.where = "find NVRTC", .log = fmt::format("{}", fmt::join(search.searched, "\n")), .advice = how_to_get_one});
}

} // namespace sale
