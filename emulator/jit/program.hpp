// SPDX-License-Identifier: Apache-2.0
// CUDA source to code of this machine: clang parses it as device code, every asm statement becomes calls of
// instruction handlers or plain arithmetic, every other memory access is checked, LLVM compiles the rest.
#pragma once

#include "emulator/machine/launch.hpp"

#include <memory>
#include <string>

namespace sale::emulator {

class Program {
public:
  /// Throws Error(compile) with clang's messages, or with the PTX instruction and line that the emulator does not know.
  static std::shared_ptr<const Program> compile(const std::string &source);
  ~Program();

  /// Null when the source has no kernel of this name.
  KernelEntry entry(const std::string &name) const;

private:
  Program();
  struct Members;
  std::unique_ptr<Members> members_;
};

} // namespace sale::emulator
