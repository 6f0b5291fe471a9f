// SPDX-License-Identifier: Apache-2.0
// IR to code in memory, by LLVM's ORC.
#pragma once

#include <memory>
#include <string>

namespace llvm {
class LLVMContext;
class Module;
class TargetMachine;
} // namespace llvm

namespace sale::emulator {

/// For the CPU that this runs on.
std::unique_ptr<llvm::TargetMachine> make_target_machine();

/// Code in memory, and what it stands on.
class Code {
public:
  /// Throws Error(compile).
  Code(std::unique_ptr<llvm::LLVMContext> context, std::unique_ptr<llvm::Module> module);
  ~Code();

  void *find(const std::string &symbol) const;

private:
  struct Members;
  std::unique_ptr<Members> members_;
};

} // namespace sale::emulator
