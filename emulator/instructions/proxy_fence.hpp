// SPDX-License-Identifier: Apache-2.0
// Fences between the generic and the asynchronous proxy, and what clusters come to when each has one CTA.
#pragma once

#include "emulator/ptx/instruction.hpp"

namespace sale::emulator {

/// Null when it is not of this family.
Handler find_proxy_fence(const Instruction &instruction);

} // namespace sale::emulator
