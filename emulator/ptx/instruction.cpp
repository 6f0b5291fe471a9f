// SPDX-License-Identifier: Apache-2.0
#include "emulator/ptx/instruction.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sale::emulator {

std::string Site::describe() const {
  std::string text;
  for (const SourceLine &line : lines) {
    text += fmt::format("{}{}:{} in {}", text.empty() ? "" : ", from ", line.file, line.line, line.function);
  }
  return text;
}

bool Instruction::has(std::string_view part) const {
  return std::find(parts.begin(), parts.end(), part) != parts.end();
}

std::string Instruction::describe() const { return fmt::format("{} at {}", fmt::join(parts, "."), site.describe()); }

} // namespace sale::emulator
