// SPDX-License-Identifier: Apache-2.0
// The instructions of a program. Copies that the optimiser made of one asm statement share them, so that threads which
// took different copies still meet in a collective.
#pragma once

#include "emulator/ptx/instruction.hpp"

#include <map>
#include <memory>
#include <string>

namespace llvm {
class DebugLoc;
} // namespace llvm

namespace sale::emulator {

class InstructionTable {
public:
  /// The instruction at this place of the source; `part` tells apart those of one place.
  Instruction &at(const llvm::DebugLoc &location, const std::string &part);

private:
  std::map<std::string, std::unique_ptr<Instruction>> instructions_;
};

} // namespace sale::emulator
