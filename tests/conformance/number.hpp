// SPDX-License-Identifier: Apache-2.0
// The operand types of the matrix instructions, on the host: bits to value and back, element by element.
#pragma once

#include "tests/conformance/random.hpp"

#include <vector>

namespace sale::conformance {

using u8 = std::uint8_t;

enum class Type { bf16, f16, e4m3, s8, s4 };

const char *name_of(Type type);
int bits_of(Type type);
inline bool is_integer(Type type) { return type == Type::s8 || type == Type::s4; }

/// The bits of `value`, rounded towards zero; `value` is in the type's range.
u32 encode(Type type, double value);
double decode(Type type, u32 bits);

/// Element `index` of packed bytes, the lowest bits first.
void put(Type type, std::vector<u8> &bytes, std::size_t index, u32 bits);
u32 get(Type type, const std::vector<u8> &bytes, std::size_t index);

enum class Fill {
  small_integers, ///< -3 to 3: sums are exact in every accumulator, in any order.
  reals,          ///< In [-1, 1): sums are rounded.
  any_bits        ///< Integers only.
};

/// The bits of a random element.
u32 random_element(Type type, Fill fill, Random &random);

u32 f32_bits(double value);

} // namespace sale::conformance
