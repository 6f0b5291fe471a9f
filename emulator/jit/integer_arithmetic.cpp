// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/arithmetic.hpp"

namespace sale::emulator {

namespace {

constexpr DataType u32_type{DataType::Kind::unsigned_integer, 32, 1};

bool is_integer(const Emitter &e) { return e.types.size() == 1 && e.types[0].is_integer(); }
bool is_logical(const Emitter &e) { return is_integer(e) || (e.types.size() == 1 && e.types[0].is_predicate()); }
bool is_32_bits(const Emitter &e) { return is_integer(e) && e.types[0].total_width() == 32 && e.types[0].lanes == 1; }

template <llvm::Instruction::BinaryOps operation, llvm::Intrinsic::ID saturating = llvm::Intrinsic::not_intrinsic>
bool binary(Emitter &e) {
  const bool saturates = e.has("sat");
  if (!is_integer(e) || !e.only({"sat"}) || (saturates && (saturating == 0 || !e.types[0].is_signed()))) {
    return false;
  }
  llvm::Value *a = e.read(1, e.types[0]);
  llvm::Value *b = e.read(2, e.types[0]);
  e.write(0, saturates ? e.ir.CreateBinaryIntrinsic(saturating, a, b) : e.ir.CreateBinOp(operation, a, b));
  return true;
}

template <llvm::Instruction::BinaryOps operation>
bool logical(Emitter &e) {
  if (!is_logical(e) || !e.only({})) {
    return false;
  }
  e.write(0, e.ir.CreateBinOp(operation, e.read(1, e.types[0]), e.read(2, e.types[0])));
  return true;
}

bool bitwise_not(Emitter &e) {
  if (!is_logical(e) || !e.only({})) {
    return false;
  }
  e.write(0, e.ir.CreateNot(e.read(1, e.types[0])));
  return true;
}

// mul, and mad with an addend: .lo, .hi or .wide of the product.
template <bool adds>
bool multiply(Emitter &e) {
  if (!is_integer(e) || !e.only({"lo", "hi", "wide"}) || e.types[0].lanes != 1) {
    return false;
  }
  const DataType type = e.types[0];
  const DataType twice{type.kind, 2 * type.width, 1};
  const bool wide = e.has("wide");
  llvm::Value *product = nullptr;
  if (wide || e.has("hi")) {
    const auto widen = [&](llvm::Value *x) { return e.ir.CreateIntCast(x, e.llvm_type(twice), type.is_signed()); };
    product = e.ir.CreateMul(widen(e.read(1, type)), widen(e.read(2, type)));
    if (!wide) {
      product = e.ir.CreateTrunc(e.ir.CreateLShr(product, static_cast<u64>(type.width)), e.llvm_type(type));
    }
  } else {
    product = e.ir.CreateMul(e.read(1, type), e.read(2, type));
  }
  if (adds) {
    product = e.ir.CreateAdd(product, e.read(3, wide ? twice : type));
  }
  e.write(0, product);
  return true;
}

// What PTX leaves open (a zero divisor) is all ones here; this machine would trap.
template <bool remainder>
bool divide(Emitter &e) {
  if (!is_integer(e) || !e.only({}) || e.types[0].lanes != 1) {
    return false;
  }
  const DataType type = e.types[0];
  llvm::Type *llvm_type = e.llvm_type(type);
  llvm::Value *a = e.read(1, type);
  llvm::Value *b = e.read(2, type);
  llvm::Value *ones = llvm::Constant::getAllOnesValue(llvm_type);
  llvm::Value *is_zero = e.ir.CreateIsNull(b);
  llvm::Value *negates = type.is_signed() ? e.ir.CreateICmpEQ(b, ones) : e.ir.getFalse(); // -2^31 / -1 would trap too
  llvm::Value *safe = e.ir.CreateSelect(e.ir.CreateOr(is_zero, negates), e.number(1, llvm_type), b);
  llvm::Value *result = nullptr;
  if (remainder) {
    result = type.is_signed() ? e.ir.CreateSRem(a, safe) : e.ir.CreateURem(a, safe);
  } else {
    result = type.is_signed() ? e.ir.CreateSDiv(a, safe) : e.ir.CreateUDiv(a, safe);
    result = e.ir.CreateSelect(negates, e.ir.CreateNeg(a), result);
  }
  e.write(0, e.ir.CreateSelect(is_zero, ones, result));
  return true;
}

bool negate(Emitter &e) {
  if (!is_integer(e) || !e.only({})) {
    return false;
  }
  e.write(0, e.ir.CreateNeg(e.read(1, e.types[0])));
  return true;
}

bool absolute(Emitter &e) {
  if (!is_integer(e) || !e.only({})) {
    return false;
  }
  e.write(0, e.ir.CreateBinaryIntrinsic(llvm::Intrinsic::abs, e.read(1, e.types[0]), e.ir.getFalse()));
  return true;
}

template <llvm::Intrinsic::ID of_signed, llvm::Intrinsic::ID of_unsigned>
bool extreme(Emitter &e) {
  if (!is_integer(e) || !e.only({"relu"})) {
    return false;
  }
  const DataType type = e.types[0];
  llvm::Value *result =
      e.ir.CreateBinaryIntrinsic(type.is_signed() ? of_signed : of_unsigned, e.read(1, type), e.read(2, type));
  if (e.has("relu")) {
    result = e.ir.CreateBinaryIntrinsic(llvm::Intrinsic::smax, result, llvm::Constant::getNullValue(result->getType()));
  }
  e.write(0, result);
  return true;
}

// PTX clamps the amount: everything is shifted out.
template <bool left>
bool shift(Emitter &e) {
  if (!is_integer(e) || !e.only({}) || e.types[0].lanes != 1) {
    return false;
  }
  const DataType type = e.types[0];
  llvm::Type *llvm_type = e.llvm_type(type);
  llvm::Value *a = e.read(1, type);
  llvm::Value *amount = e.read(2, u32_type);
  llvm::Value *all = e.ir.CreateICmpUGE(amount, e.number(static_cast<u32>(type.width)));
  const u32 most = static_cast<u32>(type.width) - 1;
  llvm::Value *clamped = e.ir.CreateZExtOrTrunc(e.ir.CreateSelect(all, e.number(most), amount), llvm_type);
  if (!left && type.is_signed()) {
    e.write(0, e.ir.CreateAShr(a, clamped));
  } else {
    llvm::Value *shifted = left ? e.ir.CreateShl(a, clamped) : e.ir.CreateLShr(a, clamped);
    e.write(0, e.ir.CreateSelect(all, e.number(0, llvm_type), shifted));
  }
  return true;
}

// shf: the upper half of b:a shifted left, or the lower half of it shifted right.
bool funnel_shift(Emitter &e) {
  if (!is_32_bits(e) || !e.only({"l", "r", "wrap", "clamp"}) || e.has("l") == e.has("r")) {
    return false;
  }
  llvm::Value *low = e.ir.CreateZExt(e.read(1, u32_type), e.ir.getInt64Ty());
  llvm::Value *high = e.ir.CreateZExt(e.read(2, u32_type), e.ir.getInt64Ty());
  llvm::Value *amount = e.read(3, u32_type);
  amount = e.has("wrap") ? e.ir.CreateAnd(amount, 31)
                         : e.ir.CreateBinaryIntrinsic(llvm::Intrinsic::umin, amount, e.number(u32{32}));
  amount = e.ir.CreateZExt(amount, e.ir.getInt64Ty());
  llvm::Value *both = e.ir.CreateOr(e.ir.CreateShl(high, 32), low);
  llvm::Value *result = e.has("l") ? e.ir.CreateLShr(e.ir.CreateShl(both, amount), 32) : e.ir.CreateLShr(both, amount);
  e.write(0, e.ir.CreateTrunc(result, e.ir.getInt32Ty()));
  return true;
}

// Bit i of the table is the result where a, b, c have the bits of i, a uppermost.
bool three_input_logic(Emitter &e) {
  if (!is_32_bits(e) || !e.only({}) || e.arguments() != 5 ||
      e.argument(4).values[0].kind != ptx::Value::Kind::integer) {
    return false;
  }
  const u64 table = e.argument(4).values[0].bits;
  llvm::Value *inputs[] = {e.read(3, u32_type), e.read(2, u32_type), e.read(1, u32_type)};
  llvm::Value *result = e.number(u32{0});
  for (unsigned row = 0; row < 8; ++row) {
    if ((table >> row & 1) != 0) {
      llvm::Value *term = e.number(u32{0xffffffff});
      for (unsigned i = 0; i < 3; ++i) {
        term = e.ir.CreateAnd(term, (row >> i & 1) != 0 ? inputs[i] : e.ir.CreateNot(inputs[i]));
      }
      result = e.ir.CreateOr(result, term);
    }
  }
  e.write(0, result);
  return true;
}

template <llvm::Intrinsic::ID intrinsic>
bool count(Emitter &e) {
  if (!is_integer(e) || !e.only({})) {
    return false;
  }
  llvm::Value *a = e.read(1, e.types[0]);
  llvm::Value *result = intrinsic == llvm::Intrinsic::ctlz ? e.ir.CreateBinaryIntrinsic(intrinsic, a, e.ir.getFalse())
                                                           : e.ir.CreateUnaryIntrinsic(intrinsic, a);
  e.write(0, intrinsic == llvm::Intrinsic::bitreverse ? result : e.ir.CreateZExtOrTrunc(result, e.ir.getInt32Ty()));
  return true;
}

bool extract_bits(Emitter &e) {
  if (!is_integer(e) || !e.only({})) {
    return false;
  }
  const DataType type = e.types[0];
  llvm::Value *a = e.ir.CreateZExt(e.read(1, type), e.ir.getInt64Ty());
  llvm::Value *result = e.call("sale_emulator_bfe", e.ir.getInt64Ty(),
                               {a, e.read(2, u32_type), e.read(3, u32_type), e.number(static_cast<u32>(type.width)),
                                e.ir.getInt1(type.is_signed())});
  e.write(0, e.ir.CreateTrunc(result, e.llvm_type(type)));
  return true;
}

bool insert_bits(Emitter &e) {
  if (!is_integer(e) || !e.only({})) {
    return false;
  }
  const DataType type = e.types[0];
  const auto wide = [&](int i) { return e.ir.CreateZExt(e.read(i, type), e.ir.getInt64Ty()); };
  llvm::Value *result =
      e.call("sale_emulator_bfi", e.ir.getInt64Ty(),
             {wide(1), wide(2), e.read(3, u32_type), e.read(4, u32_type), e.number(static_cast<u32>(type.width))});
  e.write(0, e.ir.CreateTrunc(result, e.llvm_type(type)));
  return true;
}

bool permute_bytes(Emitter &e) {
  if (!is_32_bits(e) || !e.only({})) {
    return false;
  }
  e.write(0, e.call("sale_emulator_prmt", e.ir.getInt32Ty(),
                    {e.read(1, u32_type), e.read(2, u32_type), e.read(3, u32_type)}));
  return true;
}

bool dot_product_of_bytes(Emitter &e) {
  if (e.types.size() != 2 || !e.only({})) {
    return false;
  }
  e.write(0, e.call("sale_emulator_dp4a", e.ir.getInt32Ty(),
                    {e.read(1, u32_type), e.read(2, u32_type), e.read(3, u32_type),
                     e.ir.getInt1(e.types[0].is_signed()), e.ir.getInt1(e.types[1].is_signed())}));
  return true;
}

} // namespace

const EmissionTable &integer_arithmetic() {
  using llvm::Instruction;
  namespace Intrinsic = llvm::Intrinsic;
  static const EmissionTable table = {
      {"add", binary<Instruction::Add, Intrinsic::sadd_sat>},
      {"sub", binary<Instruction::Sub, Intrinsic::ssub_sat>},
      {"mul", multiply<false>},
      {"mad", multiply<true>},
      {"div", divide<false>},
      {"rem", divide<true>},
      {"neg", negate},
      {"abs", absolute},
      {"min", extreme<Intrinsic::smin, Intrinsic::umin>},
      {"max", extreme<Intrinsic::smax, Intrinsic::umax>},
      {"and", logical<Instruction::And>},
      {"or", logical<Instruction::Or>},
      {"xor", logical<Instruction::Xor>},
      {"not", bitwise_not},
      {"shl", shift<true>},
      {"shr", shift<false>},
      {"shf", funnel_shift},
      {"lop3", three_input_logic},
      {"popc", count<Intrinsic::ctpop>},
      {"clz", count<Intrinsic::ctlz>},
      {"brev", count<Intrinsic::bitreverse>},
      {"bfe", extract_bits},
      {"bfi", insert_bits},
      {"prmt", permute_bytes},
      {"dp4a", dot_product_of_bytes},
  };
  return table;
}

} // namespace sale::emulator
