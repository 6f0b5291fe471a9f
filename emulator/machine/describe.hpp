// SPDX-License-Identifier: Apache-2.0
// Words for reports.
#pragma once

#include "emulator/machine/cta.hpp"

#include <string>

namespace sale::emulator {

/// "lanes 0-3, 7".
std::string describe_lanes(u32 mask);
/// "CTA (3, 0, 0)".
std::string describe_cta(const Cta &cta);
/// "thread 37 (warp 1, lane 5) of CTA (3, 0, 0)".
std::string describe_thread(const Thread &thread);

} // namespace sale::emulator
