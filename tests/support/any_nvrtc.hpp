// SPDX-License-Identifier: Apache-2.0
// The NVRTC of this machine, for tests that skip where there is none.
#pragma once

#include "generator/arch.hpp"
#include "runtime/nvrtc.hpp"

#include <memory>

namespace sale {

/// Null where there is none; one that is there and broken throws.
std::shared_ptr<const Nvrtc> any_nvrtc();

bool compiles_for(const Nvrtc &nvrtc, const Arch &arch);

} // namespace sale
