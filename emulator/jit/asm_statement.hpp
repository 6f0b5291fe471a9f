// SPDX-License-Identifier: Apache-2.0
// The translation of one asm statement.
#pragma once

#include "emulator/jit/emitter.hpp"

#include <llvm/IR/Instructions.h>

#include <map>
#include <string>
#include <vector>

namespace sale::emulator {

class InstructionTable;

/// What the asm statements of a function share.
struct FunctionFrame {
  FunctionFrame(llvm::Function &function_, InstructionTable &table_);

  llvm::AllocaInst *add_register(unsigned width);
  /// The operand slots, of which there are at least `count`.
  llvm::Value *slots(int count);

  llvm::Function &function;
  InstructionTable &table;
  std::vector<llvm::AllocaInst *> registers; ///< To be promoted at the end.

private:
  llvm::AllocaInst *slots_;
  int slot_count_ = 1;
};

class AsmStatement {
public:
  AsmStatement(FunctionFrame &frame, llvm::CallInst &call);
  /// Replaces the call.
  void lower();

private:
  void bind_operands();
  llvm::AllocaInst *add_operand(llvm::Type *type);
  void poison(llvm::AllocaInst *place);
  void emit_statements();
  void emit(const ptx::Statement &statement);
  void emit_guarded(const ptx::Statement &statement);
  void execute(Emitter &emitter);
  Instruction &instruction_of(const ptx::Statement &statement);
  bool is_result(const ptx::Value &value) const;
  void replace_results();
  llvm::BasicBlock *block_of(const std::string &label);
  llvm::BasicBlock *add_block();
  [[noreturn]] void refuse(const std::string &what) const;

  FunctionFrame &frame_;
  llvm::CallInst &call_;
  llvm::IRBuilder<> ir_;
  ptx::Assembly assembly_;
  Registers registers_;
  std::size_t outputs_ = 0; ///< The first operands.
  std::vector<llvm::Type *> result_types_;
  llvm::BasicBlock *end_ = nullptr; ///< What follows the statement, where it has control flow.
  std::map<std::string, llvm::BasicBlock *> labels_;
};

} // namespace sale::emulator
