// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/wgmma_results.hpp"

#include "emulator/jit/instruction_table.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/InlineAsm.h>
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/Module.h>

namespace sale::emulator {

namespace {

// The asm call, as clang writes it: in-out operands are loaded before it, and each result is stored right after it.
class DeferredWgmma {
public:
  DeferredWgmma(llvm::CallInst &call, const Instruction &instruction) : call_(call), instruction_(instruction) {}

  void rewrite() {
    find_stores();
    llvm::IRBuilder<> ir(&*call_.getFunction()->getEntryBlock().getFirstInsertionPt());
    auto *list_type = llvm::ArrayType::get(ir.getPtrTy(), stores_.size());
    llvm::AllocaInst *list = ir.CreateAlloca(list_type);

    ir.SetInsertPoint(&call_);
    for (std::size_t i = 0; i < stores_.size(); ++i) {
      ir.CreateStore(stores_[i]->getPointerOperand(), ir.CreateConstGEP2_64(list_type, list, 0, i));
    }
    llvm::Value *instruction =
        ir.CreateIntToPtr(ir.getInt64(reinterpret_cast<std::uintptr_t>(&instruction_)), ir.getPtrTy());
    llvm::Value *count = ir.getInt32(static_cast<std::uint32_t>(stores_.size()));
    call_hook(ir, "sale_emulator_reveal", {instruction, list, count});
    reload_inputs(ir);

    ir.SetInsertPoint(stores_.back()->getNextNode());
    call_hook(ir, "sale_emulator_hide", {list, count});
  }

private:
  [[noreturn]] void fail(const char *why) {
    throw Error(ErrorKind::compile, fmt::format("{}: {}", why, instruction_.describe()));
  }

  void find_stores() {
    const auto *type = llvm::dyn_cast<llvm::StructType>(call_.getType());
    stores_.assign(type == nullptr ? 0 : type->getNumElements(), nullptr);
    for (llvm::User *user : call_.users()) {
      auto *result = llvm::dyn_cast<llvm::ExtractValueInst>(user);
      auto *store =
          result != nullptr && result->hasOneUse() ? llvm::dyn_cast<llvm::StoreInst>(*result->user_begin()) : nullptr;
      if (store != nullptr && store->getParent() == call_.getParent()) {
        stores_[result->getIndices()[0]] = store;
      }
    }
    if (stores_.empty() || llvm::is_contained(stores_, nullptr)) {
      fail("the accumulators of a wgmma have to be variables");
    }
  }

  // The values loaded before are those of a register in flight.
  void reload_inputs(llvm::IRBuilder<> &ir) {
    const auto *text = llvm::cast<llvm::InlineAsm>(call_.getCalledOperand());
    unsigned input = 0;
    for (const llvm::InlineAsm::ConstraintInfo &constraint : text->ParseConstraints()) {
      if (constraint.Type != llvm::InlineAsm::isInput) {
        continue;
      }
      unsigned tied = 0;
      if (!llvm::StringRef(constraint.Codes[0]).getAsInteger(10, tied)) {
        llvm::Value *address = stores_[tied]->getPointerOperand();
        call_.setArgOperand(input, ir.CreateLoad(call_.getArgOperand(input)->getType(), address));
      }
      ++input;
    }
  }

  void call_hook(llvm::IRBuilder<> &ir, const char *name, llvm::ArrayRef<llvm::Value *> arguments) {
    llvm::SmallVector<llvm::Type *, 3> types;
    for (const llvm::Value *argument : arguments) {
      types.push_back(argument->getType());
    }
    auto *type = llvm::FunctionType::get(ir.getVoidTy(), types, false);
    ir.CreateCall(call_.getModule()->getOrInsertFunction(name, type), arguments)->setDebugLoc(call_.getDebugLoc());
  }

  llvm::CallInst &call_;
  const Instruction &instruction_;
  llvm::SmallVector<llvm::StoreInst *, 128> stores_; // of result i
};

bool is_wgmma(const llvm::Instruction &instruction) {
  const auto *call = llvm::dyn_cast<llvm::CallInst>(&instruction);
  return call != nullptr && call->isInlineAsm() &&
         llvm::StringRef(llvm::cast<llvm::InlineAsm>(call->getCalledOperand())->getAsmString())
             .contains("wgmma.mma_async");
}

} // namespace

void defer_wgmma_results(llvm::Module &module, InstructionTable &table) {
  for (llvm::Function &function : module) {
    std::vector<llvm::CallInst *> calls;
    for (llvm::Instruction &instruction : llvm::instructions(function)) {
      if (is_wgmma(instruction)) {
        calls.push_back(llvm::cast<llvm::CallInst>(&instruction));
      }
    }
    for (llvm::CallInst *call : calls) {
      Instruction &instruction = table.at(call->getDebugLoc(), "accumulators");
      instruction.parts = {"wgmma", "mma_async"};
      DeferredWgmma(*call, instruction).rewrite();
    }
  }
}

} // namespace sale::emulator
