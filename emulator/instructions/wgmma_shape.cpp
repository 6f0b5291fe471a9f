// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/wgmma_shape.hpp"

#include <array>
#include <cstdio>
#include <utility>

namespace sale::emulator {

namespace {

constexpr std::array<std::pair<std::string_view, Element>, 7> elements = {{{"f16", Element::f16},
                                                                           {"bf16", Element::bf16},
                                                                           {"tf32", Element::tf32},
                                                                           {"e4m3", Element::e4m3},
                                                                           {"e5m2", Element::e5m2},
                                                                           {"s8", Element::int8},
                                                                           {"u8", Element::uint8}}};
constexpr std::array<std::pair<std::string_view, AccumulatorType>, 3> accumulators = {
    {{"f32", AccumulatorType::f32}, {"f16", AccumulatorType::f16}, {"s32", AccumulatorType::int32}}};

template <class Names, class Value>
bool parse(const Names &names, std::string_view text, Value &value) {
  for (const auto &[name, named] : names) {
    if (name == text) {
      value = named;
      return true;
    }
  }
  return false;
}

bool is_integer(Element element) { return element == Element::int8 || element == Element::uint8; }

bool fit(const WgmmaShape &shape) {
  switch (shape.a) {
  case Element::f16: return shape.b == shape.a && shape.accumulator != AccumulatorType::int32;
  case Element::bf16:
  case Element::tf32: return shape.b == shape.a && shape.accumulator == AccumulatorType::f32;
  case Element::e4m3:
  case Element::e5m2:
    return (shape.b == Element::e4m3 || shape.b == Element::e5m2) && shape.accumulator != AccumulatorType::int32;
  case Element::int8:
  case Element::uint8: return is_integer(shape.b) && shape.accumulator == AccumulatorType::int32;
  }
  return false;
}

} // namespace

u32 WgmmaShape::element_bytes() const {
  switch (a) {
  case Element::f16:
  case Element::bf16: return 2;
  case Element::tf32: return 4;
  default: return 1;
  }
}

bool parse_wgmma_shape(const Instruction &instruction, WgmmaShape &shape) {
  // wgmma.mma_async{.sp}.sync.aligned.m64nNkK.accumulator.a.b{.satfinite}
  const std::vector<std::string> &parts = instruction.parts;
  shape.sparse = instruction.has("sp");
  const std::size_t at = shape.sparse ? 5 : 4;
  if (parts.size() < at + 4) {
    return false;
  }
  u32 m = 0;
  u32 k = 0;
  if (std::sscanf(parts[at].c_str(), "m%un%uk%u", &m, &shape.n, &k) != 3 ||
      !parse(accumulators, parts[at + 1], shape.accumulator) || !parse(elements, parts[at + 2], shape.a) ||
      !parse(elements, parts[at + 3], shape.b) || !fit(shape)) {
    return false;
  }
  shape.saturate = instruction.has("satfinite");
  const u32 step = is_integer(shape.a) && shape.n > 32 ? 16 : 8; // integers: 8, 16, 24, 32, 48, 64, ..
  return m == 64 && k == shape.k() && shape.n >= 8 && shape.n <= 256 && shape.n % step == 0;
}

} // namespace sale::emulator
