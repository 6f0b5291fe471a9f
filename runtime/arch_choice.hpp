// SPDX-License-Identifier: Apache-2.0
// Which architecture a device's kernels are compiled for, and whether as machine code or as PTX.
#pragma once

#include "generator/arch.hpp"

#include <string>

namespace sale {

/// `requested` ("sm_80") overrides the device's own when not empty: as machine code if the device runs that, as PTX if
/// the driver can compile it for the device. Throws Error(invalid_argument) when neither is possible.
DeviceArch choose_arch(const std::string &requested, int major, int minor);

} // namespace sale
