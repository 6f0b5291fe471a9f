// SPDX-License-Identifier: Apache-2.0
// wgmma.mma_async.sp: the metadata that says where A's stored elements stand.
#pragma once

#include "emulator/instructions/wgmma_shape.hpp"

#include <array>

namespace sale::emulator {

/// By a warp's metadata registers: the k of each of A's stored elements, rows one after the other. Empty, or a sentence
/// on what is wrong.
std::string read_metadata(const WgmmaShape &shape, const std::array<u32, 32> &metadata, u64 selector, u8 *position);

} // namespace sale::emulator
