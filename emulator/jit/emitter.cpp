// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/emitter.hpp"

#include "emulator/jit/hooks.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <llvm/IR/Module.h>

#include <algorithm>
#include <bit>
#include <map>

namespace sale::emulator {

Emitter::Emitter(llvm::IRBuilder<> &builder, const Registers &registers, const ptx::Statement &stated)
    : ir(builder), statement(stated), registers_(registers) {
  for (const std::string &part : stated.parts) {
    if (const auto type = parse_data_type(part)) {
      types.push_back(*type);
    }
  }
}

bool Emitter::has(std::string_view part) const {
  return std::find(statement.parts.begin(), statement.parts.end(), part) != statement.parts.end();
}

bool Emitter::only(std::initializer_list<std::string_view> qualifiers) const {
  return std::all_of(statement.parts.begin() + 1, statement.parts.end(), [&](const std::string &part) {
    return parse_data_type(part) || std::find(qualifiers.begin(), qualifiers.end(), part) != qualifiers.end();
  });
}

void Emitter::refuse(const std::string &what) const {
  throw Error(ErrorKind::compile, fmt::format("the emulator does not understand `{}`: {}", statement.text, what));
}

llvm::Type *Emitter::llvm_type(const DataType &type) {
  llvm::Type *lane = ir.getIntNTy(static_cast<unsigned>(type.width));
  if (type.is_float()) {
    lane = type.width == 32 ? ir.getFloatTy() : ir.getDoubleTy();
  }
  return type.lanes == 1 ? lane : llvm::FixedVectorType::get(lane, static_cast<unsigned>(type.lanes));
}

llvm::Value *Emitter::read(int i, const DataType &type) {
  if (i >= arguments() || argument(i).values.size() != 1 || argument(i).shape != ptx::Argument::Shape::scalar) {
    refuse(fmt::format("operand {} should be one register or number", i));
  }
  return ir.CreateBitCast(read_bits(argument(i).values[0], type.total_width()), llvm_type(type));
}

llvm::Value *Emitter::read_bits(const ptx::Value &value, int width) {
  llvm::IntegerType *type = ir.getIntNTy(static_cast<unsigned>(width));
  switch (value.kind) {
  case ptx::Value::Kind::operand:
  case ptx::Value::Kind::local: {
    llvm::AllocaInst *place = register_of(value);
    llvm::Value *bits = ir.CreateZExtOrTrunc(ir.CreateLoad(place->getAllocatedType(), place), type);
    return value.negated ? ir.CreateXor(bits, number(1, type)) : bits;
  }
  case ptx::Value::Kind::integer: return number(value.negated ? value.bits ^ 1 : value.bits, type);
  case ptx::Value::Kind::real:
    if (value.width == 64 && width == 32) {
      return ir.getInt32(std::bit_cast<u32>(static_cast<float>(std::bit_cast<double>(value.bits))));
    }
    if (value.width != width) {
      refuse("a float of another width is needed");
    }
    return number(value.bits, type);
  case ptx::Value::Kind::special: return special(value.name, width);
  case ptx::Value::Kind::label:
  case ptx::Value::Kind::sink: break;
  }
  refuse("_ or a label cannot be read");
}

llvm::AllocaInst *Emitter::register_of(const ptx::Value &value) const {
  const auto &all = value.kind == ptx::Value::Kind::operand ? registers_.operands : registers_.locals;
  if (value.index >= static_cast<int>(all.size())) {
    refuse(fmt::format("the statement has {} operands, but no %{}", all.size(), value.index));
  }
  return all[static_cast<std::size_t>(value.index)];
}

llvm::Value *Emitter::special(const std::string &name, int width) {
  using enum SpecialRegister;
  static const std::map<std::string, SpecialRegister> registers = {{"%tid.x", tid},
                                                                   {"%ntid.x", ntid},
                                                                   {"%ctaid.x", ctaid_x},
                                                                   {"%ctaid.y", ctaid_y},
                                                                   {"%ctaid.z", ctaid_z},
                                                                   {"%nctaid.x", nctaid_x},
                                                                   {"%nctaid.y", nctaid_y},
                                                                   {"%nctaid.z", nctaid_z},
                                                                   {"%laneid", laneid},
                                                                   {"%warpid", warpid},
                                                                   {"%nwarpid", nwarpid},
                                                                   {"%lanemask_eq", lanemask_eq},
                                                                   {"%lanemask_lt", lanemask_lt},
                                                                   {"%lanemask_le", lanemask_le},
                                                                   {"%lanemask_gt", lanemask_gt},
                                                                   {"%lanemask_ge", lanemask_ge},
                                                                   {"%globaltimer", globaltimer},
                                                                   {"%clusterid.x", ctaid_x},
                                                                   {"%clusterid.y", ctaid_y},
                                                                   {"%clusterid.z", ctaid_z},
                                                                   {"%nclusterid.x", nctaid_x},
                                                                   {"%nclusterid.y", nctaid_y},
                                                                   {"%nclusterid.z", nctaid_z}};
  // Blocks have one dimension here, and clusters one CTA.
  static const std::map<std::string, u32> constants = {{"%tid.y", 0},
                                                       {"%tid.z", 0},
                                                       {"%ntid.y", 1},
                                                       {"%ntid.z", 1},
                                                       {"%cluster_ctaid.x", 0},
                                                       {"%cluster_ctaid.y", 0},
                                                       {"%cluster_ctaid.z", 0},
                                                       {"%cluster_nctaid.x", 1},
                                                       {"%cluster_nctaid.y", 1},
                                                       {"%cluster_nctaid.z", 1},
                                                       {"%cluster_ctarank", 0},
                                                       {"%cluster_nctarank", 1}};
  llvm::Type *type = ir.getIntNTy(static_cast<unsigned>(width));
  if (const auto found = constants.find(name); found != constants.end()) {
    return number(found->second, type);
  }
  const auto found = registers.find(name);
  if (found == registers.end()) {
    refuse(fmt::format("{} is no register that the emulator has", name));
  }
  return ir.CreateZExtOrTrunc(call("sale_emulator_special", ir.getInt64Ty(), {number(found->second)}), type);
}

void Emitter::write(int i, llvm::Value *result, bool sign_extend) {
  if (i >= arguments() || argument(i).values.size() != 1) {
    refuse(fmt::format("operand {} should be one register", i));
  }
  write_bits(argument(i).values[0], result, sign_extend);
}

void Emitter::write_bits(const ptx::Value &value, llvm::Value *result, bool sign_extend) {
  if (value.kind == ptx::Value::Kind::sink) {
    return;
  }
  if (value.kind != ptx::Value::Kind::operand && value.kind != ptx::Value::Kind::local) {
    refuse("a result needs a register");
  }
  llvm::AllocaInst *place = register_of(value);
  const auto width = static_cast<unsigned>(result->getType()->getPrimitiveSizeInBits().getFixedValue());
  llvm::Value *bits = ir.CreateBitCast(result, ir.getIntNTy(width));
  llvm::Type *type = place->getAllocatedType();
  ir.CreateStore(sign_extend ? ir.CreateSExtOrTrunc(bits, type) : ir.CreateZExtOrTrunc(bits, type), place);
}

llvm::CallInst *Emitter::call(llvm::StringRef function, llvm::Type *result, llvm::ArrayRef<llvm::Value *> operands) {
  std::vector<llvm::Type *> parameters;
  for (const llvm::Value *operand : operands) {
    parameters.push_back(operand->getType());
  }
  const llvm::FunctionCallee callee = ir.GetInsertBlock()->getModule()->getOrInsertFunction(
      function, llvm::FunctionType::get(result, parameters, false));
  llvm::CallInst *made = ir.CreateCall(callee, operands);
  made->setDoesNotThrow();
  made->setDoesNotAccessMemory();
  for (unsigned i = 0; i < operands.size(); ++i) { // C's rule for bool
    if (operands[i]->getType()->isIntegerTy(1)) {
      made->addParamAttr(i, llvm::Attribute::ZExt);
    }
  }
  return made;
}

} // namespace sale::emulator
