// SPDX-License-Identifier: Apache-2.0
// A PTX type as an opcode names it: "s32", "bf16x2", "pred".
#pragma once

#include <optional>
#include <string_view>

namespace sale::emulator {

struct DataType {
  enum class Kind { bits, unsigned_integer, signed_integer, ieee, bf16, tf32, e4m3, e5m2, predicate };
  Kind kind = Kind::bits;
  int width = 32; ///< Of one lane.
  int lanes = 1;

  int total_width() const { return width * lanes; }
  bool is_signed() const { return kind == Kind::signed_integer; }
  bool is_integer() const { return kind == Kind::bits || kind == Kind::unsigned_integer || is_signed(); }
  /// f32 and f64, which this machine computes with; not the 16-bit ones.
  bool is_float() const { return kind == Kind::ieee && width >= 32; }
  /// f16 and bf16.
  bool is_half() const { return kind == Kind::bf16 || (kind == Kind::ieee && width == 16); }
  bool is_predicate() const { return kind == Kind::predicate; }
};

std::optional<DataType> parse_data_type(std::string_view name);

} // namespace sale::emulator
