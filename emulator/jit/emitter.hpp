// SPDX-License-Identifier: Apache-2.0
// Writes the LLVM IR of one PTX instruction: its operands as values, its results into registers.
#pragma once

#include "emulator/jit/data_type.hpp"
#include "emulator/ptx/parse.hpp"

#include <llvm/IR/IRBuilder.h>

#include <initializer_list>
#include <vector>

namespace sale::emulator {

/// Where the registers of an asm statement live while it is being translated; LLVM then promotes them.
struct Registers {
  std::vector<llvm::AllocaInst *> operands;
  std::vector<llvm::AllocaInst *> locals;
};

class Emitter {
public:
  Emitter(llvm::IRBuilder<> &builder, const Registers &registers, const ptx::Statement &stated);

  llvm::IRBuilder<> &ir;
  const ptx::Statement &statement;
  std::vector<DataType> types; ///< Those that the opcode names, in order.

  bool has(std::string_view part) const;
  /// Whether the opcode has no qualifiers but these and types.
  bool only(std::initializer_list<std::string_view> qualifiers) const;
  int arguments() const { return static_cast<int>(statement.arguments.size()); }
  const ptx::Argument &argument(int i) const { return statement.arguments[static_cast<std::size_t>(i)]; }

  /// An operand as a value of `type`: iN, float, double or <2 x ..>; 16-bit and smaller floats as iN.
  llvm::Value *read(int i, const DataType &type);
  llvm::Value *read_bits(const ptx::Value &value, int width);
  void write(int i, llvm::Value *result, bool sign_extend = false);
  void write_bits(const ptx::Value &value, llvm::Value *result, bool sign_extend = false);

  llvm::Type *llvm_type(const DataType &type);
  llvm::Value *number(std::uint64_t value, llvm::Type *type) { return llvm::ConstantInt::get(type, value); }
  llvm::Value *number(std::uint32_t value) { return ir.getInt32(value); }
  template <class Enumerator>
    requires std::is_enum_v<Enumerator>
  llvm::Value *number(Enumerator value) {
    return ir.getInt32(static_cast<std::uint32_t>(value));
  }
  /// Calls a function of functions.hpp or hooks.hpp that reads nothing but its arguments and the thread's indices.
  llvm::CallInst *call(llvm::StringRef function, llvm::Type *result, llvm::ArrayRef<llvm::Value *> operands);

  [[noreturn]] void refuse(const std::string &what) const;

private:
  llvm::AllocaInst *register_of(const ptx::Value &value) const;
  llvm::Value *special(const std::string &name, int width);

  const Registers &registers_;
};

} // namespace sale::emulator
