// SPDX-License-Identifier: Apache-2.0
#include "autotune/space/occupancy.hpp"

#include <algorithm>

namespace sale::autotune {

namespace {

// cuda_occupancy.h: the same for compute capability 8.0 and later.
constexpr int registers_per_sm = 65536;
constexpr int sub_partitions = 4;
constexpr int register_unit = 256; // of a warp
constexpr int shared_memory_unit = 128;
constexpr int reserved_shared_memory = 1024; // of each CTA, the system's

int round_up(int value, int unit) { return (value + unit - 1) / unit * unit; }

} // namespace

SmLimits sm_limits(const Arch &arch) {
  // The most of a CTA and what is reserved of it are all that an SM has.
  const int shared_memory = arch.max_shared_memory() + reserved_shared_memory;
  const int compute_capability = 10 * arch.major + arch.minor;
  switch (compute_capability) {
  case 80:
  case 90:
  case 100:
  case 103: return {2048, 32, shared_memory};
  case 86:
  case 87:
  case 88: return {1536, 16, shared_memory};
  default: return {1536, 24, shared_memory}; // 8.9, 11.0, 12.x
  }
}

int ctas_per_sm(const Arch &arch, int threads, int registers, int shared_memory) {
  const SmLimits limits = sm_limits(arch);
  const int warps = std::max(1, (threads + 31) / 32);
  int ctas = std::min(limits.ctas, limits.threads / 32 / warps);
  const int shared = round_up(shared_memory + reserved_shared_memory, shared_memory_unit);
  ctas = std::min(ctas, limits.shared_memory / shared);
  if (registers > 0) {
    const int of_warp = round_up(registers * 32, register_unit);
    // A launch is refused unless a CTA's warps, spread evenly, find their registers.
    if (of_warp * round_up(warps, sub_partitions) > registers_per_sm) {
      return 0;
    }
    ctas = std::min(ctas, registers_per_sm / sub_partitions / of_warp * sub_partitions / warps);
  }
  return ctas;
}

} // namespace sale::autotune
