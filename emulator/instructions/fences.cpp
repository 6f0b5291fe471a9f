// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/fences.hpp"

namespace sale::emulator {

namespace {

void no_operation(Thread & /*thread*/, const Instruction & /*instruction*/, u64 * /*slot*/) {}

} // namespace

Handler find_fences(const Instruction &instruction) {
  const std::string &opcode = instruction.parts[0];
  const bool proxy = instruction.has("proxy"); // proxy_fence.hpp
  return (opcode == "membar" || opcode == "fence") && !proxy ? no_operation : nullptr;
}

} // namespace sale::emulator
