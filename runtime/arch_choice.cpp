// SPDX-License-Identifier: Apache-2.0
#include "runtime/arch_choice.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <utility>

namespace sale {

KernelTarget choose_target(const std::string &requested, int major, int minor, bool emulated) {
  if (emulated) {
    return {requested.empty() ? arch_for_device(major, minor).arch : parse_arch(requested), BinaryKind::source};
  }
  if (requested.empty()) {
    const DeviceArch own = arch_for_device(major, minor);
    return {own.arch, own.as_ptx ? BinaryKind::ptx : BinaryKind::cubin};
  }
  const Arch arch = parse_arch(requested);
  if (std::pair(arch.major, arch.minor) > std::pair(major, minor)) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("kernels for {} cannot run on this device, which is sm_{}{}", requested, major, minor),
                {.advice = "name its own or an older architecture, or none"});
  }
  if (arch.specific && (arch.major != major || arch.minor != minor)) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("kernels for {} run on sm_{}{} only, and this device is sm_{}{}", requested, arch.major,
                            arch.minor, major, minor),
                {.advice = "name its own or an older architecture without a suffix, or none"});
  }
  return {arch, arch.major != major ? BinaryKind::ptx : BinaryKind::cubin};
}

} // namespace sale
