// SPDX-License-Identifier: Apache-2.0
// Which architecture a device's kernels are compiled for, and what it loads: machine code, PTX or, emulated, source.
#pragma once

#include "cache/key.hpp"
#include "generator/arch.hpp"

#include <string>

namespace sale {

struct KernelTarget {
  Arch arch;
  BinaryKind kind = BinaryKind::cubin;
};

/// `requested` ("sm_80") overrides the device's own when not empty: as machine code if the device runs that, as PTX if
/// the driver can compile it for the device; an emulated device takes any. Throws Error(invalid_argument) when none is
/// possible.
KernelTarget choose_target(const std::string &requested, int major, int minor, bool emulated = false);

} // namespace sale
