// SPDX-License-Identifier: Apache-2.0
#include "runtime/driver.hpp"

#include "runtime/shared_library.hpp"

#include <fmt/format.h>

#include <utility>

namespace sale {

namespace {

template <class Function>
void resolve(const SharedLibrary &library, const char *symbol, Function &function) {
  function = reinterpret_cast<Function>(library.symbol(symbol));
  if (function == nullptr) {
    throw Error(ErrorKind::not_found,
                fmt::format("the NVIDIA driver library {} has no {}", library.file().string(), symbol),
                {.where = "dlsym", .advice = "a driver for CUDA 12.0 or newer is needed"});
  }
}

} // namespace

std::shared_ptr<const Driver> Driver::open(const std::filesystem::path &library_path) {
  const std::filesystem::path name = library_path.empty() ? "libcuda.so.1" : library_path;
  const SharedLibrary library = SharedLibrary::open(name);
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
  return fmt::format("{} ({})", name, text);
}

std::string Driver::version() const {
  int version = 0;
  check(api.driver_version(&version), "cuDriverGetVersion", ErrorKind::not_found);
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

} // namespace sale
