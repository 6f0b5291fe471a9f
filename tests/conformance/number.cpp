// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/number.hpp"

#include <cmath>
#include <cstring>

namespace sale::conformance {

namespace {

struct Format {
  int mantissa;
  int bias;
};

Format format_of(Type type) {
  switch (type) {
  case Type::bf16: return {7, 127};
  case Type::f16: return {10, 15};
  default: return {3, 7}; // e4m3
  }
}

} // namespace

const char *name_of(Type type) {
  switch (type) {
  case Type::bf16: return "bf16";
  case Type::f16: return "f16";
  case Type::e4m3: return "e4m3";
  case Type::s8: return "s8";
  case Type::s4: return "s4";
  }
  return "";
}

int bits_of(Type type) { return type == Type::s4 ? 4 : type == Type::s8 || type == Type::e4m3 ? 8 : 16; }

u32 encode(Type type, double value) {
  if (is_integer(type)) {
    return static_cast<u32>(static_cast<int>(value)) & (type == Type::s8 ? 0xffU : 0xfU);
  }
  const Format format = format_of(type);
  const u32 sign = std::signbit(value) ? 1U << (bits_of(type) - 1) : 0;
  int exponent = 0;
  const double fraction = std::frexp(std::abs(value), &exponent); // in [1/2, 1)
  const int biased = exponent - 1 + format.bias;
  if (value == 0 || biased < 1) { // Zero and subnormals: units of 2^(1 - bias - mantissa).
    return sign | static_cast<u32>(std::ldexp(std::abs(value), format.bias - 1 + format.mantissa));
  }
  const u32 mantissa = static_cast<u32>(std::ldexp(fraction, format.mantissa + 1)) - (1U << format.mantissa);
  return sign | static_cast<u32>(biased) << format.mantissa | mantissa;
}

double decode(Type type, u32 bits) {
  if (is_integer(type)) {
    const int range = 1 << bits_of(type);
    const int value = static_cast<int>(bits);
    return value >= range / 2 ? value - range : value;
  }
  const Format format = format_of(type);
  const double sign = bits >> (bits_of(type) - 1) != 0 ? -1 : 1;
  const int biased = static_cast<int>((bits & ((1U << (bits_of(type) - 1)) - 1)) >> format.mantissa);
  const u32 mantissa = bits & ((1U << format.mantissa) - 1);
  const u32 one = biased == 0 ? 0 : 1U << format.mantissa;
  return sign *
         std::ldexp(static_cast<double>(mantissa + one), (biased == 0 ? 1 : biased) - format.bias - format.mantissa);
}

void put(Type type, std::vector<u8> &bytes, std::size_t index, u32 bits) {
  switch (bits_of(type)) {
  case 4:
    bytes[index / 2] = static_cast<u8>((bytes[index / 2] & (index % 2 == 0 ? 0xf0U : 0x0fU)) | bits << 4 * (index % 2));
    break;
  case 8: bytes[index] = static_cast<u8>(bits); break;
  default: {
    bytes[2 * index] = static_cast<u8>(bits);
    bytes[2 * index + 1] = static_cast<u8>(bits >> 8);
  }
  }
}

u32 get(Type type, const std::vector<u8> &bytes, std::size_t index) {
  switch (bits_of(type)) {
  case 4: return (bytes[index / 2] >> 4 * (index % 2)) & 0xfU;
  case 8: return bytes[index];
  default: return bytes[2 * index] | static_cast<u32>(bytes[2 * index + 1]) << 8;
  }
}

u32 random_element(Type type, Fill fill, Random &random) {
  switch (fill) {
  case Fill::small_integers: return encode(type, random.between(-3, 3));
  case Fill::reals: return encode(type, static_cast<double>(random.real()));
  case Fill::any_bits: return random.bits() & ((1U << bits_of(type)) - 1);
  }
  return 0;
}

u32 f32_bits(double value) {
  const float rounded = static_cast<float>(value);
  u32 bits = 0;
  std::memcpy(&bits, &rounded, sizeof bits);
  return bits;
}

} // namespace sale::conformance
