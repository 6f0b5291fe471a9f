// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/program.hpp"

#include "emulator/jit/accesses.hpp"
#include "emulator/jit/clang.hpp"
#include "emulator/jit/codegen.hpp"
#include "emulator/jit/instruction_table.hpp"
#include "emulator/jit/lower_asm.hpp"
#include "emulator/jit/passes.hpp"
#include "emulator/jit/retarget.hpp"
#include "emulator/jit/wgmma_results.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <llvm/Bitcode/BitcodeReader.h>
#include <llvm/IR/DebugInfo.h>
#include <llvm/IR/Module.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>

#include <map>

namespace sale::emulator {

namespace {

std::unique_ptr<llvm::Module> parse_bitcode(const std::string &bitcode, llvm::LLVMContext &context) {
  auto module = llvm::parseBitcodeFile(llvm::MemoryBufferRef(bitcode, "kernel"), context);
  if (!module) {
    throw Error(ErrorKind::compile,
                fmt::format("clang's output is not LLVM 19 bitcode: {}", llvm::toString(module.takeError())));
  }
  return std::move(*module);
}

// LLVM's code generator ends the process when the IR is wrong.
void verify(const llvm::Module &module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (llvm::verifyModule(module, &stream)) {
    throw Error(ErrorKind::compile, fmt::format("the emulator made wrong LLVM IR: {}", text));
  }
}

} // namespace

struct Program::Members {
  InstructionTable instructions;
  std::unique_ptr<Code> code;
  std::map<std::string, KernelEntry> entries;
};

Program::Program() : members_(std::make_unique<Members>()) {}
Program::~Program() = default;

std::shared_ptr<const Program> Program::compile(const std::string &source) {
  std::shared_ptr<Program> program(new Program());
  Members &members = *program->members_;
  auto context = std::make_unique<llvm::LLVMContext>();
  std::unique_ptr<llvm::Module> module = parse_bitcode(compile_to_bitcode(source), *context);
  const std::vector<std::string> kernels = retarget(*module, *make_target_machine());
  defer_wgmma_results(*module, members.instructions);
  inline_and_simplify(*module);
  resolve_shared_memory(*module);
  check_accesses(*module, members.instructions);
  lower_asm(*module, members.instructions);
  verify(*module);
  llvm::StripDebugInfo(*module);
  fold(*module);
  members.code = std::make_unique<Code>(std::move(context), std::move(module));
  for (const std::string &kernel : kernels) {
    members.entries[kernel] = reinterpret_cast<KernelEntry>(members.code->find(kernel));
  }
  return program;
}

KernelEntry Program::entry(const std::string &name) const {
  const auto found = members_->entries.find(name);
  return found == members_->entries.end() ? nullptr : found->second;
}

} // namespace sale::emulator
