// SPDX-License-Identifier: Apache-2.0
// Compiled programs of this process: each source is compiled once, however many threads load it at a time;
// after a failure it is tried again.
#pragma once

#include "emulator/jit/program.hpp"

#include <memory>
#include <string>

namespace sale::emulator {

/// Throws what Program::compile throws.
std::shared_ptr<const Program> program_of(const std::string &source);

} // namespace sale::emulator
