// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/arithmetic.hpp"
#include "emulator/jit/functions.hpp"
#include "emulator/machine/shared_memory.hpp"

namespace sale::emulator {

namespace {

using Shape = ptx::Argument::Shape;

// mov between registers, and {a, b} together as one wider register.
bool move(Emitter &e) {
  if (e.types.size() != 1 || !e.only({}) || e.arguments() != 2) {
    return false;
  }
  const int width = e.types[0].total_width();
  const auto part_width = [&](const ptx::Argument &argument) {
    return width / static_cast<int>(argument.values.size());
  };
  const auto shift_of = [&](std::size_t i, int part) { return static_cast<u64>(i) * static_cast<u64>(part); };
  llvm::Type *type = e.ir.getIntNTy(static_cast<unsigned>(width));
  llvm::Value *whole = e.number(0, type);
  const ptx::Argument &from = e.argument(1);
  for (std::size_t i = 0; i < from.values.size(); ++i) {
    const int part = part_width(from);
    llvm::Value *bits = e.ir.CreateZExt(e.read_bits(from.values[i], part), type);
    whole = e.ir.CreateOr(whole, e.ir.CreateShl(bits, shift_of(i, part)));
  }
  const ptx::Argument &to = e.argument(0);
  for (std::size_t i = 0; i < to.values.size(); ++i) {
    const int part = part_width(to);
    llvm::Value *bits = e.ir.CreateLShr(whole, shift_of(i, part));
    e.write_bits(to.values[i], e.ir.CreateTrunc(bits, e.ir.getIntNTy(static_cast<unsigned>(part))));
  }
  return true;
}

// Between generic addresses, which are the host's own, and the shared window.
bool convert_address(Emitter &e) {
  const bool shared = e.has("shared") || e.has("shared::cta");
  if (e.types.size() != 1 || e.types[0].width != 64 || !e.only({"to", "shared", "shared::cta", "global"})) {
    return false;
  }
  llvm::Value *address = e.read(1, e.types[0]);
  if (shared) {
    llvm::Value *base = e.ir.CreatePtrToInt(e.call("sale_emulator_shared", e.ir.getPtrTy(), {}), e.ir.getInt64Ty());
    llvm::Value *window = e.ir.CreateSub(base, e.ir.getInt64(SharedMemory::first_address));
    address = e.has("to") ? e.ir.CreateSub(address, window) : e.ir.CreateAdd(address, window);
  }
  e.write(0, address);
  return true;
}

bool select(Emitter &e) {
  if (e.types.size() != 1 || !e.only({}) || e.arguments() != 4) {
    return false;
  }
  llvm::Value *chosen = e.read_bits(e.argument(3).values[0], 1);
  e.write(0, e.ir.CreateSelect(chosen, e.read(1, e.types[0]), e.read(2, e.types[0])));
  return true;
}

const std::map<std::string_view, llvm::CmpInst::Predicate> &comparisons_of(const DataType &type) {
  using llvm::CmpInst;
  using Table = std::map<std::string_view, CmpInst::Predicate>;
  static const Table of_signed = {{"eq", CmpInst::ICMP_EQ},  {"ne", CmpInst::ICMP_NE},  {"lt", CmpInst::ICMP_SLT},
                                  {"le", CmpInst::ICMP_SLE}, {"gt", CmpInst::ICMP_SGT}, {"ge", CmpInst::ICMP_SGE}};
  static const Table of_unsigned = {{"eq", CmpInst::ICMP_EQ},  {"ne", CmpInst::ICMP_NE},  {"lt", CmpInst::ICMP_ULT},
                                    {"le", CmpInst::ICMP_ULE}, {"gt", CmpInst::ICMP_UGT}, {"ge", CmpInst::ICMP_UGE},
                                    {"lo", CmpInst::ICMP_ULT}, {"ls", CmpInst::ICMP_ULE}, {"hi", CmpInst::ICMP_UGT},
                                    {"hs", CmpInst::ICMP_UGE}};
  static const Table of_floats = {{"eq", CmpInst::FCMP_OEQ},  {"ne", CmpInst::FCMP_ONE},  {"lt", CmpInst::FCMP_OLT},
                                  {"le", CmpInst::FCMP_OLE},  {"gt", CmpInst::FCMP_OGT},  {"ge", CmpInst::FCMP_OGE},
                                  {"equ", CmpInst::FCMP_UEQ}, {"neu", CmpInst::FCMP_UNE}, {"ltu", CmpInst::FCMP_ULT},
                                  {"leu", CmpInst::FCMP_ULE}, {"gtu", CmpInst::FCMP_UGT}, {"geu", CmpInst::FCMP_UGE},
                                  {"num", CmpInst::FCMP_ORD}, {"nan", CmpInst::FCMP_UNO}};
  return type.is_integer() ? (type.is_signed() ? of_signed : of_unsigned) : of_floats;
}

llvm::Value *compared(Emitter &e, int i) {
  const DataType type = e.types[0];
  if (!type.is_half()) {
    llvm::Value *x = e.read(i, type);
    return e.has("ftz") ? flush_subnormals(e, x) : x;
  }
  const FloatFormat format = type.kind == DataType::Kind::bf16 ? FloatFormat::bf16 : FloatFormat::f16;
  llvm::Value *bits = e.ir.CreateZExt(e.read(i, {DataType::Kind::bits, 16, 1}), e.ir.getInt32Ty());
  return e.call("sale_emulator_widen", e.ir.getFloatTy(), {bits, e.number(format)});
}

llvm::Value *combine(Emitter &e, llvm::Value *outcome, llvm::Value *other) {
  return e.has("and")  ? e.ir.CreateAnd(outcome, other)
         : e.has("or") ? e.ir.CreateOr(outcome, other)
                       : e.ir.CreateXor(outcome, other);
}

// setp.lt.and.f32 p|q, a, b, c: p = (a < b) and c, q = !(a < b) and c.
bool set_predicate(Emitter &e) {
  if (e.types.size() != 1 || e.types[0].lanes != 1 || e.statement.parts.size() < 3 || e.arguments() < 3) {
    return false;
  }
  const auto &table = comparisons_of(e.types[0]);
  const auto found = table.find(e.statement.parts[1]);
  const bool combines = e.has("and") || e.has("or") || e.has("xor");
  if (found == table.end() || !e.only({found->first, "and", "or", "xor", "ftz"}) || combines != (e.arguments() == 4) ||
      e.types[0].is_predicate()) {
    return false;
  }
  llvm::Value *outcome = e.ir.CreateCmp(found->second, compared(e, 1), compared(e, 2));
  const ptx::Argument &results = e.argument(0);
  for (std::size_t i = 0; i < results.values.size(); ++i) {
    llvm::Value *result = i == 0 ? outcome : e.ir.CreateNot(outcome);
    e.write_bits(results.values[i], combines ? combine(e, result, e.read_bits(e.argument(3).values[0], 1)) : result);
  }
  return true;
}

} // namespace

const EmissionTable &moves_and_comparisons() {
  static const EmissionTable table = {
      {"mov", move}, {"cvta", convert_address}, {"selp", select}, {"setp", set_predicate}};
  return table;
}

} // namespace sale::emulator
