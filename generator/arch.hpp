// SPDX-License-Identifier: Apache-2.0
// A GPU architecture that kernels are generated for, and the few facts about it that shape a kernel.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sale {

struct Arch {
  int major = 0;
  int minor = 0;
  bool specific = false; ///< sm_90a: instructions of this very compute capability (wgmma), whose code runs on no other.

  /// "sm_90", "sm_90a".
  std::string name() const;
  /// "compute_90": the virtual architecture, for PTX.
  std::string virtual_name() const;
  /// Dynamic plus static shared memory one CTA may use, bytes (CUDA C++ Programming Guide, table "Technical
  /// Specifications per Compute Capability").
  int max_shared_memory() const;
  /// m16n8k64.s4 is one instruction on compute capability 8.x and a slow emulation later.
  bool has_int4_mma() const { return major == 8; }
  /// Warpgroup products, tensor copies and register reallocation (PTX ISA, "wgmma").
  bool has_wgmma() const { return major == 9 && specific; }

  friend bool operator==(const Arch &, const Arch &) = default;
};

/// Every architecture with a kernel family, ascending.
const std::vector<Arch> &supported_archs();

/// Parses "sm_90" or "sm_90a"; throws Error(invalid_argument) naming the supported ones.
Arch parse_arch(std::string_view name);

/// The newest supported architecture whose binaries run on a device of this compute capability (same major, minor not
/// above; sm_90a for 9.0); throws Error(invalid_argument) for devices older than sm_80. A newer, unknown device gets
/// the newest supported architecture, as PTX.
struct DeviceArch {
  Arch arch;
  bool as_ptx;
};
DeviceArch arch_for_device(int major, int minor);

} // namespace sale
