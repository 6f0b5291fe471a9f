// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/arithmetic.hpp"
#include "emulator/jit/functions.hpp"

#include <optional>

namespace sale::emulator {

namespace {

using Kind = DataType::Kind;

bool is_small(const DataType &type) { return !type.is_integer() && !type.is_float() && !type.is_predicate(); }

FloatFormat format_of(const DataType &type) {
  switch (type.kind) {
  case Kind::bf16: return FloatFormat::bf16;
  case Kind::tf32: return FloatFormat::tf32;
  case Kind::e4m3: return FloatFormat::e4m3;
  case Kind::e5m2: return FloatFormat::e5m2;
  default: return FloatFormat::f16;
  }
}

// .rn and .rni are told apart where it matters: the latter gives integers.
std::optional<Rounding> rounding_of(const Emitter &e) {
  static constexpr std::pair<std::string_view, Rounding> all[] = {
      {"rn", Rounding::nearest_even}, {"rni", Rounding::nearest_even}, {"rz", Rounding::toward_zero},
      {"rzi", Rounding::toward_zero}, {"rm", Rounding::down},          {"rmi", Rounding::down},
      {"rp", Rounding::up},           {"rpi", Rounding::up},           {"rna", Rounding::nearest_away}};
  for (const auto &[name, rounding] : all) {
    if (e.has(name)) {
      return rounding;
    }
  }
  return std::nullopt;
}

bool gives_integers(const Emitter &e) { return e.has("rni") || e.has("rzi") || e.has("rmi") || e.has("rpi"); }

// An integer within the range of `type`; `x` has more bits than any type.
llvm::Value *saturate(Emitter &e, llvm::Value *x, int width, bool is_signed) {
  const unsigned wide = x->getType()->getIntegerBitWidth();
  const auto bits = static_cast<unsigned>(width);
  const llvm::APInt low = is_signed ? llvm::APInt::getSignedMinValue(bits).sext(wide) : llvm::APInt(wide, 0);
  const llvm::APInt high =
      is_signed ? llvm::APInt::getSignedMaxValue(bits).sext(wide) : llvm::APInt::getMaxValue(bits).zext(wide);
  x = e.ir.CreateBinaryIntrinsic(llvm::Intrinsic::smax, x, e.ir.getInt(low));
  return e.ir.CreateBinaryIntrinsic(llvm::Intrinsic::smin, x, e.ir.getInt(high));
}

bool integer_to_integer(Emitter &e) {
  const DataType to = e.types[0];
  const DataType from = e.types[1];
  if (!e.only({"sat"})) {
    return false;
  }
  llvm::Value *x = e.read(1, from);
  if (e.has("sat")) {
    x = saturate(e, e.ir.CreateIntCast(x, e.ir.getIntNTy(128), from.is_signed()), to.width, to.is_signed());
  }
  e.write(0, e.ir.CreateIntCast(x, e.llvm_type(to), from.is_signed()), to.is_signed());
  return true;
}

llvm::Value *as_double(Emitter &e, llvm::Value *x, const DataType &type) {
  if (is_small(type)) {
    llvm::Value *bits = e.ir.CreateZExt(x, e.ir.getInt32Ty());
    x = e.call("sale_emulator_widen", e.ir.getFloatTy(), {bits, e.number(format_of(type))});
  } else if (e.has("ftz") && type.width == 32) {
    x = flush_subnormals(e, x);
  }
  return e.ir.CreateFPCast(x, e.ir.getDoubleTy());
}

// The lanes of the result, lowest first: two operands hold the upper one first, one operand holds both.
std::vector<llvm::Value *> sources(Emitter &e) {
  const DataType to = e.types[0];
  const DataType from = e.types[1];
  std::vector<llvm::Value *> made;
  if (from.lanes == 1) {
    for (int lane = 0; lane < to.lanes; ++lane) {
      llvm::Value *x = e.read(to.lanes - lane, from);
      made.push_back(from.is_integer() ? (from.is_signed() ? e.ir.CreateSIToFP(x, e.ir.getDoubleTy())
                                                           : e.ir.CreateUIToFP(x, e.ir.getDoubleTy()))
                                       : as_double(e, x, from));
    }
    return made;
  }
  llvm::Value *both = e.read(1, {Kind::bits, from.total_width(), 1});
  for (int lane = 0; lane < to.lanes; ++lane) {
    llvm::Value *shifted = e.ir.CreateLShr(both, static_cast<u64>(lane) * static_cast<u64>(from.width));
    made.push_back(as_double(e, e.ir.CreateTrunc(shifted, e.ir.getIntNTy(static_cast<unsigned>(from.width))), from));
  }
  return made;
}

bool to_small(Emitter &e) {
  const DataType to = e.types[0];
  const auto rounding = rounding_of(e).value_or(Rounding::nearest_even);
  if (!e.only({"rn", "rz", "rna", "relu", "satfinite", "sat", "ftz"}) ||
      (e.types[1].is_integer() && e.types[1].width == 64) || (e.types[1].lanes != 1 && e.types[1].lanes != to.lanes)) {
    return false;
  }
  const u32 clamps =
      (e.has("satfinite") ? clamp_finite : 0U) | (e.has("relu") ? clamp_relu : 0U) | (e.has("sat") ? clamp_unit : 0U);
  const unsigned width = static_cast<unsigned>(to.total_width());
  llvm::Value *result = e.ir.getIntN(width, 0);
  u64 shift = 0;
  for (llvm::Value *x : sources(e)) {
    llvm::Value *code = e.call("sale_emulator_narrow", e.ir.getInt32Ty(),
                               {x, e.number(format_of(to)), e.number(rounding), e.number(clamps)});
    result = e.ir.CreateOr(result, e.ir.CreateShl(e.ir.CreateZExtOrTrunc(code, result->getType()), shift));
    shift += static_cast<u64>(to.width);
  }
  e.write(0, result);
  return true;
}

bool to_integer(Emitter &e) {
  const DataType to = e.types[0];
  const auto rounding = rounding_of(e);
  if (!rounding || !e.only({"rni", "rzi", "rmi", "rpi", "ftz", "sat"}) || e.types[1].lanes != 1) {
    return false;
  }
  llvm::Value *x = as_double(e, e.read(1, e.types[1]), e.types[1]);
  llvm::Value *result =
      e.call("sale_emulator_to_integer", e.ir.getInt64Ty(),
             {x, e.number(*rounding), e.number(static_cast<u32>(to.width)), e.ir.getInt1(to.is_signed())});
  e.write(0, e.ir.CreateTrunc(result, e.llvm_type(to)), to.is_signed());
  return true;
}

// To f32 or f64.
bool to_float(Emitter &e) {
  const DataType to = e.types[0];
  const DataType from = e.types[1];
  const auto rounding = rounding_of(e).value_or(Rounding::nearest_even);
  llvm::Value *result = nullptr;
  if (from.lanes != 1 || to.lanes != 1 || !e.only({"rn", "rni", "rzi", "rmi", "rpi", "ftz"}) ||
      (gives_integers(e) && from.is_integer())) {
    return false;
  }
  llvm::Value *x = e.read(1, from);
  if (from.is_integer()) {
    result = from.is_signed() ? e.ir.CreateSIToFP(x, e.llvm_type(to)) : e.ir.CreateUIToFP(x, e.llvm_type(to));
  } else {
    result = as_double(e, x, from);
    if (gives_integers(e)) {
      result = e.call("sale_emulator_round_to_integral", e.ir.getDoubleTy(), {result, e.number(rounding)});
    }
    result = e.ir.CreateFPCast(result, e.llvm_type(to));
  }
  if (to.width == 32) {
    result = canonical_nan(e, result);
    result = e.has("ftz") ? flush_subnormals(e, result) : result;
  }
  e.write(0, result);
  return true;
}

// cvt.pack.sat.s8.s32.b32 d, a, b, c: c shifted up, then a, then b lowest.
bool pack(Emitter &e) {
  static const std::map<std::string_view, std::pair<int, bool>> lanes = {
      {"u16", {16, false}}, {"s16", {16, true}}, {"u8", {8, false}}, {"s8", {8, true}},
      {"u4", {4, false}},   {"s4", {4, true}},   {"u2", {2, false}}, {"s2", {2, true}}};
  const auto found = e.statement.parts.size() < 4 ? lanes.end() : lanes.find(e.statement.parts[3]);
  if (found == lanes.end() || !e.only({"pack", "sat", found->first, "s32", "b32"}) || !e.has("sat")) {
    return false;
  }
  const auto [width, is_signed] = found->second;
  const DataType s32_type{Kind::signed_integer, 32, 1};
  const auto lane = [&](int i) {
    return e.ir.CreateAnd(saturate(e, e.read(i, s32_type), width, is_signed), (u64{1} << width) - 1);
  };
  const auto shift = static_cast<u64>(width);
  llvm::Value *result = e.ir.CreateOr(e.ir.CreateShl(lane(1), shift), lane(2));
  if (e.arguments() == 4) {
    result = e.ir.CreateOr(result, e.ir.CreateShl(e.read(3, s32_type), 2 * shift));
  }
  e.write(0, result);
  return true;
}

bool convert(Emitter &e) {
  if (e.has("pack")) {
    return pack(e);
  }
  if (e.types.size() != 2 || e.types[0].is_predicate() || e.types[1].is_predicate()) {
    return false;
  }
  if (is_small(e.types[0])) {
    return to_small(e);
  }
  if (e.types[0].is_float()) {
    return to_float(e);
  }
  return e.types[1].is_integer() ? integer_to_integer(e) : to_integer(e);
}

} // namespace

const EmissionTable &conversions() {
  static const EmissionTable table = {{"cvt", convert}};
  return table;
}

} // namespace sale::emulator
