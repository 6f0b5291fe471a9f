// SPDX-License-Identifier: Apache-2.0
// What --device names: the CPU oracle, a GPU, or an emulated GPU.
#pragma once

#include "sale/sale.hpp"

#include <filesystem>
#include <optional>
#include <string>

namespace sale::cli {

/// The device of `options.cuda_driver` to use, or nothing for the CPU oracle. "auto", "cpu", "emulator" (which sets
/// options.cuda_driver) or the number of a GPU; throws Error(invalid_argument) for anything else and Error(not_found)
/// where there is no emulator.
std::optional<int> choose_device(const std::string &device, Options &options);

/// libsale_emulator.so: SALE_EMULATOR, else beside this program or in ../lib. Empty when there is none.
std::filesystem::path find_emulator();

} // namespace sale::cli
