// SPDX-License-Identifier: Apache-2.0
#include "generator/arch.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace sale {

namespace {

std::string supported_names() {
  std::vector<std::string> names;
  for (const Arch &arch : supported_archs()) {
    names.push_back(arch.name());
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

} // namespace

std::string Arch::name() const { return fmt::format("sm_{}{}{}", major, minor, specific ? "a" : ""); }

std::string Arch::virtual_name() const { return fmt::format("compute_{}{}{}", major, minor, specific ? "a" : ""); }

int Arch::max_shared_memory() const {
  if (major == 8) {
    return minor == 0 || minor == 7 ? 163 * 1024 : 99 * 1024;
  }
  return major == 12 ? 99 * 1024 : 227 * 1024;
}

const std::vector<Arch> &supported_archs() {
  static const std::vector<Arch> archs = {{8, 0},       {8, 6},  {8, 7},  {8, 8},  {8, 9},  {9, 0},
                                          {9, 0, true}, {10, 0}, {10, 3}, {11, 0}, {12, 0}, {12, 1}};
  return archs;
}

Arch parse_arch(std::string_view name) {
  for (const Arch &arch : supported_archs()) {
    if (arch.name() == name) {
      return arch;
    }
  }
  std::string advice = fmt::format("supported are {}", supported_names());
  if (!name.empty() && (name.back() == 'a' || name.back() == 'f')) {
    advice = fmt::format(
        "of the architecture-specific ones only sm_90a has kernels, give others without the suffix; {}", advice);
  }
  throw Error(ErrorKind::invalid_argument, fmt::format("architecture '{}' is not supported", name),
              {.where = {}, .log = {}, .options = {}, .spec = {}, .advice = advice});
}

DeviceArch arch_for_device(int major, int minor) {
  if (major < 8) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("the GPU has compute capability {}.{}, libsale needs 8.0 or newer", major, minor));
  }
  const auto &archs = supported_archs();
  const auto same =
      std::find_if(archs.rbegin(), archs.rend(), [&](const Arch &a) { return a.major == major && a.minor <= minor; });
  if (same != archs.rend()) {
    return {*same, false};
  }
  const auto older = std::find_if(archs.rbegin(), archs.rend(), [&](const Arch &a) { return a.major < major; });
  return {*older, true};
}

} // namespace sale
