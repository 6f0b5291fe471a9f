// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/arithmetic.hpp"

#include "emulator/jit/functions.hpp"

namespace sale::emulator {

namespace {

bool is_float(const Emitter &e) { return e.types.size() == 1 && e.types[0].is_float(); }
bool is_f32(const Emitter &e) { return is_float(e) && e.types[0].total_width() == 32; }

llvm::Value *integer_of(Emitter &e, llvm::Value *x) {
  return e.ir.CreateBitCast(x, x->getType()->getWithNewType(e.ir.getInt32Ty()));
}

llvm::Value *clamp_to_unit(Emitter &e, llvm::Value *x) {
  llvm::Value *zero = llvm::Constant::getNullValue(x->getType());
  llvm::Value *one = llvm::ConstantFP::get(x->getType(), 1.0);
  llvm::Value *at_most_one = e.ir.CreateSelect(e.ir.CreateFCmpOLT(x, one), x, one);
  return e.ir.CreateSelect(e.ir.CreateFCmpOGT(x, zero), at_most_one, zero); // NaN is not greater: 0
}

llvm::Value *input(Emitter &e, int i) {
  llvm::Value *x = e.read(i, e.types[0]);
  return e.has("ftz") ? flush_subnormals(e, x) : x;
}

void output(Emitter &e, llvm::Value *x) {
  x = e.types[0].width == 32 ? canonical_nan(e, x) : x;
  x = e.has("ftz") ? flush_subnormals(e, x) : x;
  e.write(0, e.has("sat") ? clamp_to_unit(e, x) : x);
}

// Rounded to nearest even, as PTX is by default.
template <llvm::Instruction::BinaryOps operation>
bool binary(Emitter &e) {
  const bool divides = operation == llvm::Instruction::FDiv;
  if (!is_float(e) || !(divides ? e.only({"rn", "ftz", "approx", "full"}) : e.only({"rn", "ftz", "sat"}))) {
    return emit_half(e);
  }
  output(e, e.ir.CreateBinOp(operation, input(e, 1), input(e, 2)));
  return true;
}

bool multiply_add(Emitter &e) {
  if (!is_float(e) || !e.only({"rn", "ftz", "sat"})) {
    return emit_half(e);
  }
  llvm::Value *a = input(e, 1);
  output(e, e.ir.CreateIntrinsic(llvm::Intrinsic::fma, {a->getType()}, {a, input(e, 2), input(e, 3)}));
  return true;
}

template <bool keeps_sign>
bool sign(Emitter &e) {
  if (e.types.size() == 1 && e.types[0].is_half() && e.only({})) {
    const u64 mask = e.types[0].lanes == 2 ? 0x80008000U : 0x8000U;
    const DataType bits{DataType::Kind::bits, e.types[0].total_width(), 1};
    llvm::Value *x = e.read(1, bits);
    e.write(0, keeps_sign ? e.ir.CreateXor(x, mask) : e.ir.CreateAnd(x, ~mask));
    return true;
  }
  if (!is_float(e) || !e.only({"ftz"})) {
    return false;
  }
  llvm::Value *x = input(e, 1);
  e.write(0, keeps_sign ? e.ir.CreateFNeg(x) : e.ir.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x));
  return true;
}

template <bool largest>
bool extreme(Emitter &e) {
  if (!is_f32(e) || !e.only({"ftz", "NaN"}) || e.arguments() != 3) {
    return emit_half(e);
  }
  const char *function = largest ? (e.has("NaN") ? "sale_emulator_max_nan" : "sale_emulator_max")
                                 : (e.has("NaN") ? "sale_emulator_min_nan" : "sale_emulator_min");
  output(e, e.call(function, e.ir.getFloatTy(), {input(e, 1), input(e, 2)}));
  return true;
}

bool square_root(Emitter &e) {
  if (!is_float(e) || !e.only({"rn", "approx", "ftz"})) {
    return false;
  }
  output(e, e.ir.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, input(e, 1)));
  return true;
}

template <const char *function>
bool unary(Emitter &e) {
  if (!is_f32(e) || !e.only({"rn", "approx", "ftz"})) {
    return emit_half(e);
  }
  output(e, e.call(function, e.ir.getFloatTy(), {input(e, 1)}));
  return true;
}

constexpr char ex2[] = "sale_emulator_ex2";
constexpr char lg2[] = "sale_emulator_lg2";
constexpr char rcp[] = "sale_emulator_rcp";
constexpr char rsqrt[] = "sale_emulator_rsqrt";
constexpr char tanh[] = "sale_emulator_tanh";

} // namespace

llvm::Value *flush_subnormals(Emitter &e, llvm::Value *x) {
  llvm::Value *bits = integer_of(e, x);
  llvm::Type *type = bits->getType();
  llvm::Value *exponent = e.ir.CreateAnd(bits, e.number(0x7f800000U, type));
  llvm::Value *zero = e.ir.CreateAnd(bits, e.number(0x80000000U, type));
  return e.ir.CreateBitCast(e.ir.CreateSelect(e.ir.CreateIsNull(exponent), zero, bits), x->getType());
}

llvm::Value *canonical_nan(Emitter &e, llvm::Value *x) {
  llvm::Value *bits = integer_of(e, x);
  llvm::Value *nan = e.number(0x7fffffffU, bits->getType());
  return e.ir.CreateBitCast(e.ir.CreateSelect(e.ir.CreateFCmpUNO(x, x), nan, bits), x->getType());
}

bool emit_half(Emitter &e) {
  using enum HalfOperation;
  static const std::map<std::string_view, HalfOperation> operations = {
      {"add", add}, {"sub", sub}, {"mul", mul}, {"fma", fma},
      {"min", min}, {"max", max}, {"ex2", ex2}, {"tanh", HalfOperation::tanh}};
  const auto found = operations.find(e.statement.parts[0]);
  if (found == operations.end() || e.types.size() != 1 || !e.types[0].is_half() ||
      !e.only({"rn", "approx", "ftz", "sat", "relu", "NaN"})) {
    return false;
  }
  const DataType bits{DataType::Kind::bits, e.types[0].total_width(), 1};
  const auto word = [&](int i) -> llvm::Value * {
    return i < e.arguments() ? e.ir.CreateZExt(e.read(i, bits), e.ir.getInt32Ty()) : e.number(u32{0});
  };
  HalfOperation operation = found->second;
  if (e.has("NaN")) {
    operation = operation == min ? min_nan : max_nan;
  }
  const FloatFormat format = e.types[0].kind == DataType::Kind::bf16 ? FloatFormat::bf16 : FloatFormat::f16;
  const u32 clamps = (e.has("sat") ? clamp_unit : 0U) | (e.has("relu") ? clamp_relu : 0U) | (e.has("ftz") ? flush : 0U);
  llvm::Value *result = e.call("sale_emulator_half", e.ir.getInt32Ty(),
                               {e.number(operation), e.number(format), e.number(clamps), word(1), word(2), word(3)});
  e.write(0, e.ir.CreateTrunc(result, e.llvm_type(bits)));
  return true;
}

const EmissionTable &float_arithmetic() {
  using llvm::Instruction;
  static const EmissionTable table = {
      {"add", binary<Instruction::FAdd>},
      {"sub", binary<Instruction::FSub>},
      {"mul", binary<Instruction::FMul>},
      {"div", binary<Instruction::FDiv>},
      {"fma", multiply_add},
      {"mad", multiply_add},
      {"neg", sign<true>},
      {"abs", sign<false>},
      {"min", extreme<false>},
      {"max", extreme<true>},
      {"sqrt", square_root},
      {"rsqrt", unary<rsqrt>},
      {"rcp", unary<rcp>},
      {"ex2", unary<ex2>},
      {"lg2", unary<lg2>},
      {"tanh", unary<tanh>},
  };
  return table;
}

} // namespace sale::emulator
