// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/lower_asm.hpp"

#include "emulator/jit/asm_statement.hpp"

#include <llvm/IR/Dominators.h>
#include <llvm/IR/InlineAsm.h>
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/Module.h>
#include <llvm/Transforms/Utils/PromoteMemToReg.h>

namespace sale::emulator {

void lower_asm(llvm::Module &module, InstructionTable &table) {
  for (llvm::Function &function : module) {
    std::vector<llvm::CallInst *> calls;
    for (llvm::Instruction &instruction : llvm::instructions(function)) {
      auto *call = llvm::dyn_cast<llvm::CallInst>(&instruction);
      if (call != nullptr && call->isInlineAsm()) {
        calls.push_back(call);
      }
    }
    if (calls.empty()) {
      continue;
    }
    FunctionFrame frame(function, table);
    for (llvm::CallInst *call : calls) {
      AsmStatement(frame, *call).lower();
    }
    llvm::DominatorTree dominators(function);
    llvm::PromoteMemToReg(frame.registers, dominators);
  }
}

} // namespace sale::emulator
