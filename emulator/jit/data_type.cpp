// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/data_type.hpp"

#include <charconv>
#include <string>

namespace sale::emulator {

std::optional<DataType> parse_data_type(std::string_view name) {
  using Kind = DataType::Kind;
  DataType type;
  if (name.ends_with("x2")) {
    type.lanes = 2;
    name.remove_suffix(2);
  }
  if (name == "pred") {
    return DataType{Kind::predicate, 1, 1};
  }
  if (name == "bf16") {
    return DataType{Kind::bf16, 16, type.lanes};
  }
  if (name == "tf32") {
    return DataType{Kind::tf32, 32, type.lanes};
  }
  if (name == "e4m3" || name == "e5m2") {
    return DataType{name == "e4m3" ? Kind::e4m3 : Kind::e5m2, 8, type.lanes};
  }
  const std::size_t kind = name.empty() ? std::string_view::npos : std::string_view("busf").find(name[0]);
  if (kind == std::string_view::npos) {
    return std::nullopt;
  }
  static constexpr Kind kinds[] = {Kind::bits, Kind::unsigned_integer, Kind::signed_integer, Kind::ieee};
  type.kind = kinds[kind];
  const char *last = name.data() + name.size();
  const auto [end, error] = std::from_chars(name.data() + 1, last, type.width);
  const bool known = type.width == 16 || type.width == 32 || type.width == 64 || (type.width == 8 && kind != 3);
  if (error != std::errc{} || end != last || !known) {
    return std::nullopt;
  }
  return type;
}

} // namespace sale::emulator
