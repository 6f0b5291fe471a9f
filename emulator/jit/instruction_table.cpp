// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/instruction_table.hpp"

#include <fmt/format.h>

#include <llvm/IR/DebugInfoMetadata.h>
#include <llvm/IR/DebugLoc.h>

namespace sale::emulator {

Instruction &InstructionTable::at(const llvm::DebugLoc &location, const std::string &part) {
  Site site;
  std::string key = part;
  for (const llvm::DILocation *at = location.get(); at != nullptr; at = at->getInlinedAt()) {
    const llvm::DISubprogram *function = at->getScope()->getSubprogram();
    site.lines.push_back({at->getFilename().str(), static_cast<int>(at->getLine()), function->getName().str()});
    const SourceLine &line = site.lines.back();
    key += fmt::format("\n{}:{}:{} {}", line.file, line.line, at->getColumn(), line.function);
  }
  std::unique_ptr<Instruction> &found = instructions_[key];
  if (found == nullptr) {
    found = std::make_unique<Instruction>();
    found->site = std::move(site);
  }
  return *found;
}

} // namespace sale::emulator
