// SPDX-License-Identifier: Apache-2.0
#include "runtime/arch_choice.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <utility>

namespace sale {

DeviceArch choose_arch(const std::string &requested, int major, int minor) {
  if (requested.empty()) {
    return arch_for_device(major, minor);
  }
  const Arch arch = parse_arch(requested);
  if (std::pair(arch.major, arch.minor) > std::pair(major, minor)) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("kernels for {} cannot run on this device, which is sm_{}{}", requested, major, minor),
                {.advice = "name its own or an older architecture, or none"});
  }
  return {arch, arch.major != major};
}

} // namespace sale
