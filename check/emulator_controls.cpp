// SPDX-License-Identifier: Apache-2.0
#include "check/emulator_controls.hpp"

#include "emulator/driver/emulator.h"

namespace sale::check {

EmulatorControls::EmulatorControls(const Driver &driver) {
  if (driver.emulated()) {
    library_ = SharedLibrary::open(driver.file());
  }
}

void EmulatorControls::set_seed(std::uint64_t seed) const {
  if (library_) {
    symbol<decltype(saleEmulatorSetSeed)>("saleEmulatorSetSeed")(seed);
  }
}

void EmulatorControls::set_workers(int workers) const {
  if (library_) {
    symbol<decltype(saleEmulatorSetWorkers)>("saleEmulatorSetWorkers")(workers);
  }
}

std::optional<unsigned long long> EmulatorControls::products() const {
  if (!library_) {
    return std::nullopt;
  }
  const auto count = symbol<decltype(saleEmulatorCount)>("saleEmulatorCount");
  return count("mma") + count("wgmma.mma_async");
}

} // namespace sale::check
