// SPDX-License-Identifier: Apache-2.0
// PTX leaves open in which order and precision a float product is summed. Here the products are exact, summed in double
// by ascending k, the addend last, and rounded once; a NaN result is 0x7fffffff (f16: 0x7fff). Integers are exact.
#include "emulator/instructions/mma_sync.hpp"

#include "emulator/instructions/mma_product.hpp"
#include "emulator/instructions/number.hpp"
#include "emulator/machine/warp.hpp"
#include "reference/float8.hpp"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <utility>

namespace sale::emulator {

namespace {

using mma::columns;
using mma::rows;

enum class Element { bf16, f16, tf32, s8, u8, s4, u4, e4m3, e5m2 };
enum class Result { f32, f16, s32, s32_saturated };

constexpr int elements_per_word(Element element) {
  switch (element) {
  case Element::bf16:
  case Element::f16: return 2;
  case Element::tf32: return 1;
  case Element::s8:
  case Element::u8:
  case Element::e4m3:
  case Element::e5m2: return 4;
  case Element::s4:
  case Element::u4: return 8;
  }
  return 0;
}

constexpr bool is_integer(Element element) {
  return element == Element::s8 || element == Element::u8 || element == Element::s4 || element == Element::u4;
}

/// What sums exactly (integers: below 2^24) or well enough (floats).
template <Element element>
using Sum = std::conditional_t<is_integer(element), float, double>;

/// The values of the 8-bit floats' codes; null for other elements.
template <Element element>
const float *code_values() {
  return element == Element::e4m3   ? reference::e4m3_values().data()
         : element == Element::e5m2 ? reference::e5m2_values().data()
                                    : nullptr;
}

/// The i-th element of a word, lowest bits first.
template <Element element>
float decode(u32 word, int i, const float *values) {
  switch (element) {
  case Element::bf16: return std::bit_cast<float>(i == 0 ? word << 16U : word & 0xffff0000U);
  case Element::f16: return f16_bits_to_float((word >> (16 * i)) & 0xffffU);
  case Element::tf32: return std::bit_cast<float>(word & 0xffffe000U); // the other bits are ignored
  case Element::s8: return static_cast<std::int8_t>(word >> (8 * i));
  case Element::u8: return static_cast<u8>(word >> (8 * i));
  case Element::s4: return static_cast<float>(static_cast<s32>(word << (28 - 4 * i)) >> 28);
  case Element::u4: return static_cast<float>((word >> (4 * i)) & 0xfU);
  case Element::e4m3:
  case Element::e5m2: return values[(word >> (8 * i)) & 0xffU];
  }
  return 0;
}

/// [word][index] to [k][index], k = word's elements in turn.
template <Element element, int words, int indices>
void decode_all(const u32 (&from)[words][indices], Sum<element> *to) {
  const float *values = code_values<element>();
  for (const auto &word : from) {
    for (int i = 0; i < elements_per_word(element); ++i, to += indices) {
      for (int index = 0; index < indices; ++index) {
        to[index] = decode<element>(word[index], i, values);
      }
    }
  }
}

/// Lane t holds of A the rows t/4 and t/4 + 8, of B the column t/4: word t%4 of each 16 bytes of k.
template <int words>
struct Operands {
  u32 a[words][rows];
  u32 b[words][columns];

  Operands(const Instruction &instruction, const LaneSlots &lanes) {
    const int slot_a = instruction.operand(1).slot;
    const int slot_b = instruction.operand(2).slot;
    for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
      const u64 *from_a = lanes[lane] + slot_a;
      const u64 *from_b = lanes[lane] + slot_b;
      const std::size_t group = lane / 4;
      for (std::size_t word = lane % 4; word < words; word += 4) {
        a[word][group] = static_cast<u32>(*from_a++);
        a[word][group + 8] = static_cast<u32>(*from_a++);
        b[word][group] = static_cast<u32>(*from_b++);
      }
    }
  }
};

template <Result result>
u32 finish(double product, u32 addend) {
  if constexpr (result == Result::f32) {
    return sum_to_f32_bits(product + static_cast<double>(std::bit_cast<float>(addend)));
  } else if constexpr (result == Result::f16) {
    return sum_to_f16_bits(product + static_cast<double>(f16_bits_to_float(addend)));
  } else {
    const auto sum = static_cast<std::int64_t>(product) + static_cast<s32>(addend);
    if constexpr (result == Result::s32_saturated) {
      return static_cast<u32>(
          std::clamp<std::int64_t>(sum, std::numeric_limits<s32>::min(), std::numeric_limits<s32>::max()));
    }
    return static_cast<u32>(sum);
  }
}

/// Lane t holds rows t/4 and t/4 + 8, columns 2(t%4) and 2(t%4) + 1: a word each, or an f16 pair per row.
template <Result result, class Sum>
void write_results(const Instruction &instruction, const LaneSlots &lanes, const Sum (&product)[rows][columns]) {
  const int slot_d = instruction.operand(0).slot;
  const int slot_c = instruction.operand(3).slot;
  for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
    u64 *d = lanes[lane] + slot_d;
    const u64 *c = lanes[lane] + slot_c;
    const std::size_t column = lane % 4 * 2;
    for (std::size_t row = lane / 4; row < rows; row += 8) {
      const auto *pair = &product[row][column];
      if constexpr (result == Result::f16) {
        const u32 addend = static_cast<u32>(*c++);
        *d++ = finish<result>(pair[0], addend & 0xffffU) | finish<result>(pair[1], addend >> 16U) << 16U;
      } else {
        *d++ = finish<result>(pair[0], static_cast<u32>(*c++));
        *d++ = finish<result>(pair[1], static_cast<u32>(*c++));
      }
    }
  }
}

/// `words` of k per row: 4 (16 bytes) or 8.
template <Element a, Element b, int words, Result result>
void mma_sync(Thread &thread, const Instruction &instruction, u64 *slot) {
  thread.warp().collective(thread, instruction, slot, [&](const LaneSlots &lanes) {
    constexpr int k = words * elements_per_word(a);
    const Operands<words> operands(instruction, lanes);
    Sum<a> elements_a[k][rows];
    Sum<a> elements_b[k][columns];
    Sum<a> product[rows][columns];
    decode_all<a>(operands.a, elements_a[0]);
    decode_all<b>(operands.b, elements_b[0]);
    mma::multiply(elements_a[0], elements_b[0], k, product[0]);
    write_results<result>(instruction, lanes, product);
  });
}

struct Types {
  const char *d;
  const char *a;
  const char *b;
};

bool is(const Instruction &instruction, const Types &types, const char *shape, bool saturated) {
  const auto &parts = instruction.parts;
  const std::size_t n = parts.size();
  return n >= 9 && parts[1] == "sync" && instruction.has(shape) && instruction.has("row") && instruction.has("col") &&
         instruction.has("satfinite") == saturated && parts[n - 4] == types.d && parts[n - 3] == types.a &&
         parts[n - 2] == types.b && parts[n - 1] == types.d;
}

constexpr const char *name(Element element) {
  constexpr const char *names[] = {"bf16", "f16", "tf32", "s8", "u8", "s4", "u4", "e4m3", "e5m2"};
  return names[static_cast<std::size_t>(element)];
}

/// The shapes whose k is 16 and 32 bytes.
struct Shapes {
  const char *half;
  const char *full;
};

constexpr Shapes shapes(Element element) {
  switch (elements_per_word(element)) {
  case 1: return {"m16n8k4", "m16n8k8"};
  case 2: return {"m16n8k8", "m16n8k16"};
  case 4: return {"m16n8k16", "m16n8k32"};
  default: return {"m16n8k32", "m16n8k64"};
  }
}

template <Element a, Element b, Result result>
Handler of_result(const Instruction &instruction) {
  constexpr bool saturated = result == Result::s32_saturated;
  const Types types{result == Result::f32 ? "f32" : result == Result::f16 ? "f16" : "s32", name(a), name(b)};
  if (is(instruction, types, shapes(a).half, saturated)) {
    return mma_sync<a, b, 4, result>;
  }
  return is(instruction, types, shapes(a).full, saturated) ? mma_sync<a, b, 8, result> : nullptr;
}

template <Element a, Element b>
Handler of_types(const Instruction &instruction) {
  if constexpr (is_integer(a)) {
    const Handler handler = of_result<a, b, Result::s32>(instruction);
    return handler != nullptr ? handler : of_result<a, b, Result::s32_saturated>(instruction);
  } else {
    const Handler handler = of_result<a, b, Result::f32>(instruction);
    const bool may_be_f16 = a != Element::bf16 && a != Element::tf32;
    return handler == nullptr && may_be_f16 ? of_result<a, b, Result::f16>(instruction) : handler;
  }
}

/// Both operands may be of either type.
template <Element x, Element y>
Handler of_mixed(const Instruction &instruction) {
  for (const auto find : {of_types<x, x>, of_types<x, y>, of_types<y, x>, of_types<y, y>}) {
    if (const Handler handler = find(instruction)) {
      return handler;
    }
  }
  return nullptr;
}

} // namespace

Handler find_mma_sync(const Instruction &instruction) {
  if (instruction.parts[0] != "mma") {
    return nullptr;
  }
  for (const auto find : {of_types<Element::bf16, Element::bf16>, of_types<Element::f16, Element::f16>,
                          of_types<Element::tf32, Element::tf32>, of_mixed<Element::s8, Element::u8>,
                          of_mixed<Element::s4, Element::u4>, of_mixed<Element::e4m3, Element::e5m2>}) {
    if (const Handler handler = find(instruction)) {
      return handler;
    }
  }
  return nullptr;
}

} // namespace sale::emulator
