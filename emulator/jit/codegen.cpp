// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/codegen.hpp"

#include "emulator/jit/functions.hpp"
#include "emulator/jit/hooks.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <llvm/ExecutionEngine/Orc/CompileUtils.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/IR/Module.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Target/TargetMachine.h>

#include <cmath>
#include <cstring>
#include <mutex>

namespace sale::emulator {

namespace {

template <class T>
T value_of(llvm::Expected<T> expected) {
  if (!expected) {
    throw Error(ErrorKind::compile, fmt::format("LLVM: {}", llvm::toString(expected.takeError())));
  }
  return std::move(*expected);
}

void check(llvm::Error error) {
  if (error) {
    throw Error(ErrorKind::compile, fmt::format("LLVM: {}", llvm::toString(std::move(error))));
  }
}

// Fast compilation: kernels run for milliseconds.
llvm::orc::JITTargetMachineBuilder host() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
  auto builder = value_of(llvm::orc::JITTargetMachineBuilder::detectHost());
  builder.setCodeGenOptLevel(llvm::CodeGenOptLevel::None);
  return builder;
}

// Everything that compiled code may call.
llvm::orc::SymbolMap symbols(llvm::orc::LLJIT &jit) {
  llvm::orc::SymbolMap map;
  const auto add = [&](const char *name, auto *function) {
    map[jit.mangleAndIntern(name)] = {llvm::orc::ExecutorAddr::fromPtr(function), llvm::JITSymbolFlags::Exported};
  };
#define SALE_ADD(function) add(#function, &(function))
  SALE_ADD(sale_emulator_enter);
  SALE_ADD(sale_emulator_execute);
  SALE_ADD(sale_emulator_access);
  SALE_ADD(sale_emulator_reveal);
  SALE_ADD(sale_emulator_hide);
  SALE_ADD(sale_emulator_shared);
  SALE_ADD(sale_emulator_special);
  SALE_ADD(sale_emulator_ex2);
  SALE_ADD(sale_emulator_lg2);
  SALE_ADD(sale_emulator_rcp);
  SALE_ADD(sale_emulator_rsqrt);
  SALE_ADD(sale_emulator_tanh);
  SALE_ADD(sale_emulator_min);
  SALE_ADD(sale_emulator_max);
  SALE_ADD(sale_emulator_min_nan);
  SALE_ADD(sale_emulator_max_nan);
  SALE_ADD(sale_emulator_to_integer);
  SALE_ADD(sale_emulator_round_to_integral);
  SALE_ADD(sale_emulator_narrow);
  SALE_ADD(sale_emulator_widen);
  SALE_ADD(sale_emulator_half);
  SALE_ADD(sale_emulator_prmt);
  SALE_ADD(sale_emulator_bfe);
  SALE_ADD(sale_emulator_bfi);
  SALE_ADD(sale_emulator_dp4a);
  SALE_ADD(memcpy);
  SALE_ADD(memmove);
  SALE_ADD(memset);
#undef SALE_ADD
  add("fma", static_cast<double (*)(double, double, double)>(std::fma)); // of a CPU that has no such instruction
  add("fmaf", static_cast<float (*)(float, float, float)>(std::fma));
  return map;
}

} // namespace

std::unique_ptr<llvm::TargetMachine> make_target_machine() { return value_of(host().createTargetMachine()); }

struct Code::Members {
  std::unique_ptr<llvm::orc::LLJIT> jit;
};

Code::Code(std::unique_ptr<llvm::LLVMContext> context, std::unique_ptr<llvm::Module> module)
    : members_(std::make_unique<Members>()) {
  members_->jit = value_of(llvm::orc::LLJITBuilder()
                               .setJITTargetMachineBuilder(host())
                               .setPlatformSetUp(llvm::orc::setUpInactivePlatform)
                               .setLinkProcessSymbolsByDefault(false)
                               .create());
  llvm::orc::LLJIT &jit = *members_->jit;
  check(jit.getMainJITDylib().define(llvm::orc::absoluteSymbols(symbols(jit))));
  check(jit.addIRModule(llvm::orc::ThreadSafeModule(std::move(module), std::move(context))));
}

Code::~Code() = default;

void *Code::find(const std::string &symbol) const { return value_of(members_->jit->lookup(symbol)).toPtr<void *>(); }

} // namespace sale::emulator
