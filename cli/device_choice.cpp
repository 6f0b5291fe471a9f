// SPDX-License-Identifier: Apache-2.0
#include "cli/device_choice.hpp"

#include "generator/arch.hpp"
#include "runtime/device.hpp"
#include "runtime/shared_library.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>

namespace sale::cli {

namespace {

constexpr const char *emulator_file = "libsale_emulator.so";

// The first GPU, unless there is none or one that no kernel runs on.
std::optional<int> first_gpu(const Options &options) {
  try {
    const auto driver = Driver::open(options.cuda_driver);
    cu::Device device = 0;
    int major = 0;
    int minor = 0;
    driver->check(driver->api.device_get(&device, 0), "cuDeviceGet");
    driver->check(driver->api.device_attribute(&major, cu::compute_capability_major, device), "cuDeviceGetAttribute");
    driver->check(driver->api.device_attribute(&minor, cu::compute_capability_minor, device), "cuDeviceGetAttribute");
    arch_for_device(major, minor);
    return 0;
  } catch (const Error &error) {
    fmt::print(stderr, "sale: running on the CPU: {}\n", error.what());
    return std::nullopt;
  }
}

// The emulated device that is of this architecture; the first for others, which it runs too.
int emulated_device(Options &options) {
  options.cuda_driver = find_emulator();
  if (options.cuda_driver.empty()) {
    throw Error(ErrorKind::not_found, fmt::format("there is no {} beside this program or in ../lib", emulator_file),
                {.where = "find the emulator",
                 .advice = "build the target sale_emulator, which needs clang-19, llvm-19-dev and "
                           "libboost-context-dev, or name the file in SALE_EMULATOR"});
  }
  if (const SharedLibrary library = SharedLibrary::open(options.cuda_driver); !library) {
    throw Error(ErrorKind::not_found, fmt::format("the emulator cannot be loaded: {}", library.problem()),
                {.where = "dlopen", .advice = "SALE_EMULATOR names another file, if it is set"});
  }
  if (options.arch.empty()) {
    return 0;
  }
  const Arch arch = parse_arch(options.arch);
  return std::max(0, find_device(*Driver::open(options.cuda_driver), arch.major, arch.minor));
}

} // namespace

std::optional<int> choose_device(const std::string &device, Options &options) {
  if (device == "cpu") {
    return std::nullopt;
  }
  if (device == "auto") {
    return first_gpu(options);
  }
  if (device == "emulator") {
    return emulated_device(options);
  }
  int ordinal = 0;
  const char *end = device.data() + device.size();
  const auto [stop, code] = std::from_chars(device.data(), end, ordinal);
  if (code != std::errc() || stop != end || ordinal < 0) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("unknown device {:?}; give auto, cpu, emulator or the number of a GPU", device));
  }
  return ordinal;
}

std::filesystem::path find_emulator() {
  if (const char *named = std::getenv("SALE_EMULATOR"); named != nullptr && *named != '\0') {
    return named;
  }
  std::error_code problem;
  const std::filesystem::path folder = std::filesystem::read_symlink("/proc/self/exe", problem).parent_path();
  for (const auto &place : {folder / emulator_file, folder.parent_path() / "lib" / emulator_file}) {
    if (std::filesystem::exists(place, problem)) {
      return place;
    }
  }
  return {};
}

} // namespace sale::cli
