// SPDX-License-Identifier: Apache-2.0
// Runs a grid: CTAs over OS threads, every CUDA thread a fiber.
#pragma once

#include "emulator/machine/cta.hpp"

#include <map>
#include <optional>
#include <string>

namespace sale::emulator {

/// A compiled kernel: `params` as cuLaunchKernel takes them.
using KernelEntry = void (*)(void **params);

struct LaunchShape {
  Dim3 grid;
  Dim3 block;           ///< y and z must be 1
  u32 shared_bytes = 0; ///< dynamic
};

struct LaunchOptions {
  u64 seed = 0;    ///< 0: always the same order; else threads and events run in a random order drawn from it
  int workers = 0; ///< OS threads; 0 = one per core
};

/// What ran, summed over launches.
struct Statistics {
  std::map<std::string, u64> warp_instructions;             ///< Collectives, by two parts of the opcode: "mma.sync", ..
  std::map<std::string, std::pair<u64, u64>> bank_accesses; ///< By site: warp-wide accesses, cycles lost to conflicts.
  void add(const Statistics &other);
};

/// What was wrong, in full sentences; the first fault of the launch.
struct Report {
  std::string text;
};

/// Empty when every thread returned and nothing was wrong.
std::optional<Report> launch(KernelEntry entry, void **params, const LaunchShape &shape, const LaunchOptions &options,
                             Statistics &statistics);

} // namespace sale::emulator
