// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/accesses.hpp"

#include "emulator/jit/instruction_table.hpp"

#include <llvm/Analysis/ValueTracking.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/IntrinsicInst.h>
#include <llvm/IR/Module.h>

namespace sale::emulator {

namespace {

bool is_entry_argument(const llvm::Value *value) {
  const auto *argument = llvm::dyn_cast<llvm::Argument>(value);
  return argument != nullptr && !argument->getParent()->hasLocalLinkage();
}

// Local variables, constants, and kernel parameters: an entry's argument lists their addresses.
bool is_own(const llvm::Value *address) {
  llvm::SmallVector<const llvm::Value *, 4> objects;
  llvm::getUnderlyingObjects(address, objects);
  return llvm::all_of(objects, [](const llvm::Value *object) {
    const auto *load = llvm::dyn_cast<llvm::LoadInst>(object);
    return llvm::isa<llvm::AllocaInst>(object) || llvm::isa<llvm::GlobalVariable>(object) ||
           is_entry_argument(object) ||
           (load != nullptr && is_entry_argument(llvm::getUnderlyingObject(load->getPointerOperand())));
  });
}

struct Access {
  llvm::Value *address = nullptr;
  llvm::Value *bytes = nullptr;
  llvm::Align alignment;
  bool write = false;
};

class Instrumenter {
public:
  Instrumenter(llvm::Module &module, InstructionTable &table)
      : module_(module), table_(table), ir_(module.getContext()),
        hook_(module.getOrInsertFunction("sale_emulator_access", ir_.getVoidTy(), ir_.getPtrTy(), ir_.getPtrTy(),
                                         ir_.getInt64Ty(), ir_.getInt32Ty(), ir_.getInt1Ty())) {}

  void run(llvm::Function &function) {
    for (llvm::Instruction &instruction : llvm::make_early_inc_range(llvm::instructions(function))) {
      for (const Access &access : accesses_of(instruction)) {
        if (!is_own(access.address)) {
          check(instruction, access);
        }
      }
    }
  }

private:
  Access typed(llvm::Value *address, llvm::Type *type, llvm::Align alignment, bool write) {
    return {address, ir_.getInt64(module_.getDataLayout().getTypeStoreSize(type)), alignment, write};
  }

  std::vector<Access> accesses_of(llvm::Instruction &instruction) {
    if (auto *load = llvm::dyn_cast<llvm::LoadInst>(&instruction)) {
      return {typed(load->getPointerOperand(), load->getType(), load->getAlign(), false)};
    }
    if (auto *store = llvm::dyn_cast<llvm::StoreInst>(&instruction)) {
      return {typed(store->getPointerOperand(), store->getValueOperand()->getType(), store->getAlign(), true)};
    }
    if (auto *atomic = llvm::dyn_cast<llvm::AtomicRMWInst>(&instruction)) {
      return {typed(atomic->getPointerOperand(), atomic->getType(), atomic->getAlign(), true)};
    }
    if (auto *exchange = llvm::dyn_cast<llvm::AtomicCmpXchgInst>(&instruction)) {
      return {
          typed(exchange->getPointerOperand(), exchange->getNewValOperand()->getType(), exchange->getAlign(), true)};
    }
    std::vector<Access> found;
    if (auto *memory = llvm::dyn_cast<llvm::MemIntrinsic>(&instruction)) {
      found.push_back({memory->getDest(), memory->getLength(), memory->getDestAlign().valueOrOne(), true});
    }
    if (auto *copy = llvm::dyn_cast<llvm::MemTransferInst>(&instruction)) {
      found.push_back({copy->getSource(), copy->getLength(), copy->getSourceAlign().valueOrOne(), false});
    }
    return found;
  }

  void check(llvm::Instruction &instruction, const Access &access) {
    const std::string kind = access.write ? "store" : "load";
    Instruction &site = table_.at(instruction.getDebugLoc(), kind);
    site.text = kind;
    site.parts = {kind};
    ir_.SetInsertPoint(&instruction);
    llvm::Value *where = ir_.CreateIntToPtr(ir_.getInt64(reinterpret_cast<u64>(&site)), ir_.getPtrTy());
    llvm::CallInst *call =
        ir_.CreateCall(hook_, {where, access.address, ir_.CreateZExtOrTrunc(access.bytes, ir_.getInt64Ty()),
                               ir_.getInt32(static_cast<u32>(access.alignment.value())), ir_.getInt1(access.write)});
    call->addParamAttr(4, llvm::Attribute::ZExt); // C's rule for bool
    call->setDoesNotThrow();
  }

  llvm::Module &module_;
  InstructionTable &table_;
  llvm::IRBuilder<> ir_;
  llvm::FunctionCallee hook_;
};

} // namespace

void check_accesses(llvm::Module &module, InstructionTable &table) {
  Instrumenter instrumenter(module, table);
  for (llvm::Function &function : module) {
    instrumenter.run(function);
  }
}

} // namespace sale::emulator
