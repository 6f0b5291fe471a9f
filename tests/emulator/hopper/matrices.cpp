// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/hopper/matrices.hpp"

#include "tests/emulator/hopper/device.hpp"

#include "reference/element.hpp"
#include "reference/float8.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>

namespace sale::emulator::test {

u32 encode(Element element, int number) {
  const auto real = static_cast<float>(number);
  switch (element) {
  case Element::f16: return reference::float_to_f16(real);
  case Element::bf16: return reference::float_to_bf16(real);
  case Element::tf32: return std::bit_cast<u32>(real) | 0x1234U; // the low 13 bits are ignored
  case Element::e4m3: return reference::float_to_e4m3(real);
  case Element::e5m2: return reference::float_to_e5m2(real);
  default: return static_cast<u8>(number);
  }
}

Placement Placement::random(Random &random, bool k_major, u32 span, u32 base, u32 lines, u32 k, u32 element_bytes) {
  Placement p;
  p.k_major = k_major;
  p.span = span;
  p.start = base;
  p.element_bytes = element_bytes;
  const u32 k_bytes = k * element_bytes;
  const u32 more = static_cast<u32>(random() % 3);
  if (k_major) {
    if (span == 0) {
      p.stride = 128 * (1 + more); // the chunks of a row beyond the rows, or rows beyond the chunks
      p.leading = p.stride * ((lines + 7) / 8);
      if (random() % 2 == 0) {
        p.leading = 128;
        p.stride = 128 * (k_bytes / 16 + more);
      }
    } else {
      p.stride = 8 * span * (1 + more);
      p.leading = p.stride * ((lines + 7) / 8); // used by a row that is wider than the swizzle
      p.start += k_bytes < span ? k_bytes * static_cast<u32>(random() % (span / k_bytes)) : 0; // of a longer row
    }
    p.base_offset = static_cast<u32>(random() % 8);
    return p;
  }
  p.base_offset = static_cast<u32>(random() % 8);
  const u32 pieces = span == 0 ? lines / 8 : (lines * 2 + span - 1) / span; // 16 or `span` bytes of lines
  const u32 unit = span == 0 ? 128 : 8 * span;                              // 8 of k
  const u32 near = unit * (1 + more);
  const bool k_first = random() % 2 == 0; // which of the two is the longer step
  const u32 of_k = k_first ? near : near * pieces;
  const u32 of_lines = k_first ? near * (k / 8) : near;
  p.leading = span == 0 ? of_k : of_lines;
  p.stride = span == 0 ? of_lines : of_k;
  return p;
}

u64 Placement::descriptor() const {
  const u64 mode = span == 0 ? 0 : span == 128 ? 1 : span == 64 ? 2 : 3;
  return u64{start >> 4U} | u64{leading >> 4U} << 16U | u64{stride >> 4U} << 32U | u64{base_offset} << 49U |
         mode << 62U;
}

u32 Placement::address(u32 line, u32 k) const {
  const u32 byte = k * element_bytes;
  u32 at = start;
  if (k_major) {
    at += line / 8 * stride;
    const u32 width = span == 0 ? 16 : span;
    at += line % 8 * width + byte / width * leading + byte % width;
  } else if (span == 0) {
    at += line / 8 * stride + k / 8 * leading + k % 8 * 16 + line % 8 * 2;
  } else {
    at += line / (span / 2) * leading + k / 8 * stride + k % 8 * span + line % (span / 2) * 2;
  }
  const u32 rows = span < 32 ? 1 : span / 16;
  return at ^ ((at / 128 + 8 - base_offset) % rows * 16);
}

Product::Product(const std::string &types, u32 n, bool sparse, Random &random) : types_(types) {
  const u32 stored = types.find("8") != std::string::npos || types.find("e") != std::string::npos ? 32
                     : types.find("tf32") != std::string::npos                                    ? 8
                                                                                                  : 16;
  Instruction named;
  const std::string text = "wgmma.mma_async." + std::string(sparse ? "sp." : "") + "sync.aligned.m64n" +
                           std::to_string(n) + "k" + std::to_string(sparse ? 2 * stored : stored) + "." + types;
  std::string part;
  for (const char c : text + ".") {
    if (c == '.') {
      named.parts.push_back(part);
      part.clear();
    } else {
      part += c;
    }
  }
  EXPECT_TRUE(parse_wgmma_shape(named, shape)) << text;
  const auto number = [&](Element element) {
    return static_cast<int>(random() % 7) - (element == Element::uint8 ? 0 : 3);
  };
  const u32 k = shape.k();
  a.assign(std::size_t{64} * k, 0);
  metadata.resize(128);
  std::generate(metadata.begin(), metadata.end(), [&] { return static_cast<u32>(random()); });
  selector = sparse && shape.element_bytes() > 1 ? static_cast<u32>(random() % 2) : 0;
  const u32 chunk = shape.element_bytes() == 4 ? 2 : 4; // one or two of so many elements are stored
  for (u32 row = 0; row < 64; ++row) {
    for (u32 first = 0; first < k; first += sparse ? chunk : 1) {
      if (!sparse) {
        a[row * k + first] = number(shape.a);
        a_stored.push_back(a[row * k + first]);
        continue;
      }
      u32 nibble = 0;
      std::vector<u32> positions;
      if (chunk == 2) {
        positions = {static_cast<u32>(random() % 2)};
        nibble = positions[0] == 0 ? 0b0100U : 0b1110U;
      } else {
        const u32 low = static_cast<u32>(random() % 3);
        positions = {low, low + 1 + static_cast<u32>(random() % (3 - low))};
        nibble = positions[0] | positions[1] << 2U;
      }
      for (const u32 position : positions) {
        a[row * k + first + position] = number(shape.a);
        a_stored.push_back(a[row * k + first + position]);
      }
      // PTX ISA: all four threads of a quad hold metadata of 8-bit types, else the pair that the selector names.
      const u32 group = first / chunk;
      const u32 quad = row / 16 * 32 + row % 8 * 4;
      const u32 upper = row / 8 % 2;
      const bool bytes = shape.element_bytes() == 1;
      u32 &word = metadata[quad + (bytes ? upper + group / 8 * 2 : 2 * selector + group / 4)];
      const u32 shift = bytes ? group % 8 * 4 : upper * 16 + group % 4 * 4;
      word = (word & ~(0xfU << shift)) | nibble << shift;
    }
  }
  b.resize(std::size_t{k} * n);
  std::generate(b.begin(), b.end(), [&] { return number(shape.b); });
  d.resize(std::size_t{64} * n);
  std::generate(d.begin(), d.end(), [&] { return static_cast<int>(random() % 201) - 100; });
  accumulate = random() % 4 != 0;
  if (shape.accumulator != AccumulatorType::int32) {
    negate_a = random() % 3 == 0;
    negate_b = random() % 3 == 0;
  }
}

void Product::place(Random &random, u32 a_base, u32 b_base, u32 a_span, u32 b_span, bool a_k_major, bool b_k_major) {
  a_placement = Placement::random(random, a_k_major, a_span, a_base, 64, shape.a_columns(), shape.element_bytes());
  b_placement = Placement::random(random, b_k_major, b_span, b_base, shape.n, shape.k(), shape.element_bytes());
}

std::string Product::opcode() const {
  return "wgmma.mma_async." + std::string(shape.sparse ? "sp." : "") + "sync.aligned.m64n" + std::to_string(shape.n) +
         "k" + std::to_string(shape.k()) + "." + types_;
}

Instruction Product::instruction() const {
  std::vector<Operand> operands = {value(static_cast<int>(shape.accumulators())), value(a_registers ? 4 : 1), value()};
  if (shape.sparse) {
    operands.insert(operands.end(), {value(), value()});
  }
  operands.push_back(predicate());
  if (shape.accumulator != AccumulatorType::int32) {
    operands.insert(operands.end(), {value(), value()});
  }
  if (shape.element_bytes() == 2) {
    operands.insert(operands.end(), a_registers ? 1 : 2, value());
  }
  return make(opcode(), operands);
}

std::vector<int> Product::expected() const {
  std::vector<int> result(d.size());
  const u32 k = shape.k();
  for (u32 row = 0; row < 64; ++row) {
    for (u32 column = 0; column < shape.n; ++column) {
      int sum = 0;
      for (u32 i = 0; i < k; ++i) {
        sum += a[row * k + i] * b[i * shape.n + column];
      }
      const u32 at = row * shape.n + column;
      result[at] = (accumulate ? d[at] : 0) + (negate_a != negate_b ? -sum : sum);
    }
  }
  return result;
}

u32 Product::a_word(u32 thread, u32 index) const {
  const u32 row = thread / 32 * 16 + thread % 32 / 4 + index % 2 * 8;
  const u32 size = shape.element_bytes();
  const u32 first = (index / 2 * 16 + thread % 4 * 4) / size;
  u32 word = 0;
  for (u32 i = 0; i < 4 / size; ++i) {
    word |= encode(shape.a, a_stored[row * shape.a_columns() + first + i]) << 8 * size * i;
  }
  return word;
}

namespace {

// PTX ISA, "Register Fragments": element i of a thread's part of D.
std::size_t d_index(u32 n, u32 thread, u32 i) {
  const u32 row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
  return std::size_t{row} * n + i / 4 * 8 + thread % 4 * 2 + i % 2;
}

u32 accumulator_bits(AccumulatorType type, int number) {
  switch (type) {
  case AccumulatorType::f32: return std::bit_cast<u32>(static_cast<float>(number));
  case AccumulatorType::f16: return reference::float_to_f16(static_cast<float>(number));
  default: return static_cast<u32>(number);
  }
}

} // namespace

void Product::fill_slots(u32 thread, u64 *slot) const {
  const bool halves = shape.accumulator == AccumulatorType::f16;
  for (u32 i = 0; i < shape.n / 2; ++i) {
    const u64 bits = accumulator_bits(shape.accumulator, d[d_index(shape.n, thread, i)]);
    if (!halves) {
      slot[i] = bits;
    } else {
      slot[i / 2] = i % 2 == 0 ? bits : slot[i / 2] | bits << 16U;
    }
  }
  slot += shape.accumulators();
  for (u32 i = 0; a_registers && i < 4; ++i) {
    *slot++ = a_word(thread, i);
  }
  if (!a_registers) {
    *slot++ = a_placement.descriptor();
  }
  *slot++ = b_placement.descriptor();
  if (shape.sparse) {
    *slot++ = metadata[thread];
    *slot++ = selector;
  }
  *slot++ = accumulate ? 1 : 0;
  if (shape.accumulator != AccumulatorType::int32) {
    *slot++ = static_cast<u32>(negate_a ? -1 : 1);
    *slot++ = static_cast<u32>(negate_b ? -1 : 1);
  }
  if (shape.element_bytes() == 2) {
    if (!a_registers) {
      *slot++ = a_placement.k_major ? 0 : 1;
    }
    *slot++ = b_placement.k_major ? 0 : 1;
  }
}

int Product::mismatches(u32 thread, const u64 *slot, const std::vector<int> &wanted) const {
  int wrong = 0;
  for (u32 i = 0; i < shape.n / 2; ++i) {
    const u64 bits = shape.accumulator == AccumulatorType::f16 ? slot[i / 2] >> (i % 2 * 16) & 0xffffU : slot[i];
    wrong += bits != accumulator_bits(shape.accumulator, wanted[d_index(shape.n, thread, i)]) ? 1 : 0;
  }
  return wrong;
}

void Product::store_operands() const {
  std::map<u32, u32> words;
  const auto put = [&](u32 at, u32 bits) {
    words[at / 4 * 4] |= bits << at % 4 * 8; // each byte comes once
  };
  for (u32 row = 0; row < 64 && !a_registers; ++row) {
    for (u32 i = 0; i < shape.a_columns(); ++i) {
      put(a_placement.address(row, i), encode(shape.a, a_stored[row * shape.a_columns() + i]));
    }
  }
  for (u32 i = 0; i < shape.k(); ++i) {
    for (u32 column = 0; column < shape.n; ++column) {
      put(b_placement.address(column, i), encode(shape.b, b[i * shape.n + column]));
    }
  }
  for (const auto &[at, word] : words) {
    store(at, word);
  }
}

} // namespace sale::emulator::test
