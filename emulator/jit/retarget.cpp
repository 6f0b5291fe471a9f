// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/retarget.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>
#include <llvm/IR/ReplaceConstant.h>
#include <llvm/Target/TargetMachine.h>

#include <algorithm>

namespace sale::emulator {

namespace {

constexpr unsigned shared_space = 3; // NVPTX's number
constexpr const char *shared_array = "sale.shared";

[[noreturn]] void refuse(const std::string &what) { throw Error(ErrorKind::compile, "the emulator has no " + what); }

bool is_kernel(const llvm::Function &function) {
  const llvm::NamedMDNode *annotations = function.getParent()->getNamedMetadata("nvvm.annotations");
  if (annotations == nullptr) {
    return false;
  }
  return std::any_of(annotations->op_begin(), annotations->op_end(), [&](const llvm::MDNode *node) {
    const auto *name = node->getNumOperands() == 3 ? llvm::dyn_cast<llvm::MDString>(node->getOperand(1)) : nullptr;
    return name != nullptr && name->getString() == "kernel" &&
           llvm::mdconst::dyn_extract_or_null<llvm::Function>(node->getOperand(0)) == &function;
  });
}

// clang names a global of another address space only in casts to the generic one.
void replace_global(llvm::GlobalVariable &old, llvm::GlobalVariable &made) {
  for (llvm::User *user : llvm::make_early_inc_range(old.users())) {
    auto *cast = llvm::dyn_cast<llvm::ConstantExpr>(user);
    if (cast == nullptr || cast->getOpcode() != llvm::Instruction::AddrSpaceCast) {
      refuse(fmt::format("such use of `{}`, a variable of an address space of its own", old.getName().str()));
    }
    cast->replaceAllUsesWith(&made);
    cast->destroyConstant();
  }
}

void unite_address_spaces(llvm::Module &module) {
  for (llvm::GlobalVariable &old : llvm::make_early_inc_range(module.globals())) {
    const bool shared = old.getAddressSpace() == shared_space;
    if (shared && !old.isDeclaration()) {
      refuse(fmt::format("static shared memory (`{}`): kernels carve one dynamic array", old.getName().str()));
    }
    if (old.getAddressSpace() == 0) {
      continue;
    }
    auto *made = new llvm::GlobalVariable(module, old.getValueType(), old.isConstant(), old.getLinkage(),
                                          old.hasInitializer() ? old.getInitializer() : nullptr, "", &old);
    made->setAlignment(old.getAlign());
    replace_global(old, *made);
    made->takeName(&old);
    if (shared) {
      made->setName(shared_array);
    } else {
      made->setLinkage(llvm::GlobalValue::InternalLinkage);
    }
    old.eraseFromParent();
  }
}

// Parameters come as addresses, and by-value structs are copied to the stack, where they count as local memory.
llvm::Function *make_entry(llvm::Function &kernel) {
  llvm::Module &module = *kernel.getParent();
  llvm::LLVMContext &context = module.getContext();
  llvm::Type *pointer = llvm::PointerType::getUnqual(context);
  auto *entry = llvm::Function::Create(llvm::FunctionType::get(llvm::Type::getVoidTy(context), {pointer}, false),
                                       llvm::GlobalValue::ExternalLinkage, "", module);
  entry->takeName(&kernel);
  entry->setSubprogram(kernel.getSubprogram());
  kernel.setSubprogram(nullptr);
  entry->splice(entry->begin(), &kernel);
  const llvm::Align anywhere(1); // The driver's caller may keep parameters at any address.
  llvm::IRBuilder<> ir(&*entry->getEntryBlock().getFirstInsertionPt());
  llvm::Value *frame = ir.CreateIntrinsic(llvm::Intrinsic::frameaddress, {pointer}, {ir.getInt32(0)});
  ir.CreateCall(module.getOrInsertFunction("sale_emulator_enter", ir.getVoidTy(), pointer), {frame});
  for (llvm::Argument &argument : kernel.args()) {
    llvm::Value *slot = ir.CreateConstGEP1_32(pointer, entry->getArg(0), argument.getArgNo());
    llvm::Value *address = ir.CreateLoad(pointer, slot);
    if (!argument.hasByValAttr()) {
      argument.replaceAllUsesWith(ir.CreateAlignedLoad(argument.getType(), address, anywhere));
      continue;
    }
    llvm::Type *type = argument.getParamByValType();
    llvm::AllocaInst *copy = ir.CreateAlloca(type);
    copy->setAlignment(argument.getParamAlign().value_or(copy->getAlign()));
    ir.CreateMemCpy(copy, copy->getAlign(), address, anywhere, module.getDataLayout().getTypeAllocSize(type));
    argument.replaceAllUsesWith(copy);
  }
  return entry;
}

void check_callee(const llvm::Function &callee) {
  const llvm::StringRef name = callee.getName();
  const bool known = callee.isIntrinsic() ? !name.starts_with("llvm.nvvm.") : name.starts_with("sale_emulator_");
  if (callee.isDeclaration() && !callee.use_empty() && !known) {
    refuse(fmt::format("function `{}`: templates call only their own and write PTX for the rest", name.str()));
  }
}

} // namespace

std::vector<std::string> retarget(llvm::Module &module, const llvm::TargetMachine &machine) {
  std::vector<llvm::Function *> kernels;
  for (llvm::Function &function : module) {
    if (is_kernel(function)) {
      kernels.push_back(&function);
    }
    function.setComdat(nullptr);
    function.setCallingConv(llvm::CallingConv::C);
    for (const char *attribute : {"target-cpu", "target-features", "frame-pointer", "stack-protector-buffer-size"}) {
      function.removeFnAttr(attribute);
    }
    function.removeFnAttr(llvm::Attribute::NoInline);
    if (!function.isDeclaration()) {
      function.setLinkage(llvm::GlobalValue::InternalLinkage);
      function.addFnAttr(llvm::Attribute::AlwaysInline); // no stack frames to lose track of in reports
    }
  }
  module.setTargetTriple(machine.getTargetTriple().str());
  module.setDataLayout(machine.createDataLayout());
  unite_address_spaces(module);
  std::vector<std::string> names;
  names.reserve(kernels.size());
  for (llvm::Function *kernel : kernels) {
    names.push_back(make_entry(*kernel)->getName().str());
  }
  if (llvm::NamedMDNode *annotations = module.getNamedMetadata("nvvm.annotations")) {
    annotations->eraseFromParent();
  }
  for (llvm::Function *kernel : kernels) {
    kernel->eraseFromParent();
  }
  return names;
}

void resolve_shared_memory(llvm::Module &module) {
  if (llvm::GlobalVariable *shared = module.getNamedGlobal(shared_array)) {
    llvm::convertUsersOfConstantsToInstructions({shared});
    for (llvm::Function &function : module) {
      llvm::Value *base = nullptr;
      for (llvm::Use &use : llvm::make_early_inc_range(shared->uses())) {
        auto *user = llvm::dyn_cast<llvm::Instruction>(use.getUser());
        if (user == nullptr || user->getFunction() != &function) {
          continue;
        }
        if (base == nullptr) {
          llvm::IRBuilder<> ir(&*function.getEntryBlock().getFirstInsertionPt());
          base = ir.CreateCall(module.getOrInsertFunction("sale_emulator_shared", ir.getPtrTy()));
        }
        use.set(base);
      }
    }
    if (shared->use_empty()) {
      shared->eraseFromParent();
    }
  }
  for (const llvm::Function &function : module) {
    check_callee(function);
  }
  for (const llvm::GlobalVariable &global : module.globals()) {
    if (global.isDeclaration()) {
      refuse(fmt::format("variable `{}` that the source only declares", global.getName().str()));
    }
  }
}

} // namespace sale::emulator
