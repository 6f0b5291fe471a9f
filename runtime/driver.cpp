// SPDX-License-Identifier: Apache-2.0
#include "runtime/driver.hpp"

#include "runtime/shared_library.hpp"

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <string_view>
#include <utility>

namespace sale {

namespace {

constexpr const char *usual_name = "libcuda.so.1";

template <class Function>
void resolve(const SharedLibrary &library, const char *symbol, Function &function) {
  function = reinterpret_cast<Function>(library.symbol(symbol));
  if (function == nullptr) {
    throw Error(ErrorKind::not_found,
                fmt::format("the NVIDIA driver library {} has no {}", library.file().string(), symbol),
                {.where = "dlsym", .advice = "a driver for CUDA 12.0 or newer is needed"});
  }
}

// What to do about a refusal; the numbers are those of CUresult.
const char *advice_for(cu::Result result) {
  switch (result) {
  case 2: return "free device memory, or use a smaller batch or a shorter context";
  case 46: return "another process holds the GPU for itself alone";
  case 100:
  case 101: return "nvidia-smi shows what the driver sees";
  case 200: return "the cached binary may be damaged; remove it with `sale cache clear`";
  case 201:
  case 709: return "the Engine's context must live as long as the Engine and its Plans";
  case 209: return "compile for the device's own architecture: leave Options.arch (--arch) empty";
  case 218:
  case 222:
    return "the NVRTC is newer than the driver: update the driver, or name an older NVRTC (Options.nvrtc, --nvrtc or "
           "SALE_NVRTC)";
  case 400: return "the stream must be alive and belong to the Engine's context";
  case 700:
  case 716:
  case 719:
    return "a kernel of this context, maybe not libsale's, failed; every pointer and stride of RunArgs must describe "
           "device memory of this context, and compute-sanitizer names the kernel";
  case 1:
  case 701: return "this is a bug of libsale; please report it with the output of `sale info`";
  default: return "the documentation of CUresult in the CUDA driver API explains this error";
  }
}

} // namespace

std::shared_ptr<const Driver> Driver::open(const std::filesystem::path &library) {
  static std::mutex mutex;
  static std::map<std::filesystem::path, std::weak_ptr<const Driver>> opened;
  const std::scoped_lock lock(mutex);
  const std::filesystem::path name = library.empty() ? usual_name : library;
  std::shared_ptr<const Driver> driver = opened[name].lock();
  if (driver == nullptr) {
    opened[name] = driver = load(name);
  }
  return driver;
}

std::shared_ptr<const Driver> Driver::load(const std::filesystem::path &name) {
  const SharedLibrary library = SharedLibrary::open(name);
  if (!library && name != usual_name) {
    throw Error(ErrorKind::not_found, "the driver that was named cannot be opened: " + library.problem(),
                {.where = "dlopen",
                 .log = library.problem(),
                 .advice = "give the path of a libcuda.so.1, or no name for the one that the loader finds"});
  }
  if (!library) {
    throw Error(ErrorKind::not_found, fmt::format("no NVIDIA driver found ({})", name.string()),
                {.where = "dlopen",
                 .log = library.problem(),
                 .advice = "kernels run on machines with an NVIDIA GPU and its driver; generating, compiling and "
                           "prewarming need neither"});
  }
  std::shared_ptr<Driver> driver(new Driver);
  driver->file_ = library.file();
#define SALE_CU_CALL(member, symbol, ...) resolve(library, #symbol, driver->api.member);
  SALE_CU_CALLS(SALE_CU_CALL)
#undef SALE_CU_CALL
  driver->emulated_ = library.symbol("saleEmulatorVersion") != nullptr;
  if (const cu::Result result = driver->api.init(0); result != cu::success) {
    throw Error(ErrorKind::not_found,
                fmt::format("the NVIDIA driver {} found no GPU that it can use: {}", driver->file_.string(),
                            driver->describe(result)),
                {.where = "cuInit", .advice = "nvidia-smi shows what the driver sees"});
  }
  return driver;
}

void Driver::check(cu::Result result, const char *call, ErrorKind kind, ErrorDetails details) const {
  if (result != cu::success) {
    fail(result, call, kind, std::move(details));
  }
}

void Driver::fail(cu::Result result, const char *call, ErrorKind kind, ErrorDetails details) const {
  details.where = call;
  const char *report = nullptr;
  if (emulated_ && api.error_string(result, &report) == cu::success && report != nullptr) {
    details.log = report;
  } else if (details.advice.empty()) {
    details.advice = advice_for(result);
  }
  std::string what = fmt::format("{} failed with {}", call, describe(result));
  if (!details.spec.empty()) {
    what += fmt::format(" for {}", details.spec);
  }
  throw Error(kind, what, std::move(details));
}

std::string Driver::describe(cu::Result result) const {
  const char *name = nullptr;
  const char *text = nullptr;
  if (api.error_name(result, &name) != cu::success || name == nullptr) {
    return fmt::format("CUDA error {}", result);
  }
  if (api.error_string(result, &text) != cu::success || text == nullptr) {
    return name;
  }
  const std::string_view all = text;
  return fmt::format("{} ({})", name, all.substr(0, all.find('\n')));
}

std::string Driver::version() const {
  int version = 0;
  check(api.driver_version(&version), "cuDriverGetVersion", ErrorKind::not_found);
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

} // namespace sale
