// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/wgmma_product.hpp"

#include "emulator/instructions/number.hpp"
#include "reference/float8.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

namespace sale::emulator {

namespace {

constexpr u32 block_rows = 4;
constexpr u32 block_columns = 8;

// Sums of a block stay in registers.
template <class T>
[[gnu::always_inline]] inline void multiply_blocks(const T *a, const u8 *position, const T *b, u32 k, u32 n, T *sum) {
  for (u32 first = 0; first < wgmma_rows; first += block_rows) {
    for (u32 column = 0; column < n; column += block_columns) {
      T block[block_rows][block_columns];
      for (u32 row = 0; row < block_rows; ++row) {
        std::copy_n(sum + (first + row) * n + column, block_columns, block[row]);
      }
      for (u32 i = 0; i < k; ++i) {
        for (u32 row = 0; row < block_rows; ++row) {
          const u32 at = (first + row) * k + i;
          const T factor = a[at];
          const T *line = b + position[at] * n + column;
          for (u32 each = 0; each < block_columns; ++each) {
            block[row][each] += factor * line[each];
          }
        }
      }
      for (u32 row = 0; row < block_rows; ++row) {
        std::copy_n(block[row], block_columns, sum + (first + row) * n + column);
      }
    }
  }
}

#if defined(__x86_64__)
#define SALE_WIDEST_VECTORS __attribute__((target_clones("default", "arch=x86-64-v3")))
#else
#define SALE_WIDEST_VECTORS
#endif

SALE_WIDEST_VECTORS void multiply_numbers(const double *a, const u8 *position, const double *b, u32 k, u32 n,
                                          double *sum) {
  multiply_blocks(a, position, b, k, n, sum);
}

SALE_WIDEST_VECTORS void multiply_numbers(const s32 *a, const u8 *position, const s32 *b, u32 k, u32 n, s32 *sum) {
  multiply_blocks(a, position, b, k, n, sum);
}

template <class Raw>
Raw load(const u8 *bytes) {
  Raw raw;
  std::memcpy(&raw, bytes, sizeof raw);
  return raw;
}

// Element i of each line to to[i * lines + line].
template <class T>
void decode(Element element, const u8 *bytes, std::size_t lines, std::size_t count, T *to) {
  const auto each = [&](std::size_t size, auto value) {
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t line = 0; line < lines; ++line) {
        *to++ = static_cast<T>(value(bytes + (line * count + i) * size));
      }
    }
  };
  switch (element) {
  case Element::f16: return each(2, [](const u8 *at) { return f16_bits_to_float(load<u16>(at)); });
  case Element::bf16: return each(2, [](const u8 *at) { return bf16_bits_to_float(load<u16>(at)); });
  case Element::tf32: // the low 13 bits are ignored
    return each(4, [](const u8 *at) { return std::bit_cast<float>(load<u32>(at) & 0xffffe000U); });
  case Element::e4m3: return each(1, [values = reference::e4m3_values().data()](const u8 *at) { return values[*at]; });
  case Element::e5m2: return each(1, [values = reference::e5m2_values().data()](const u8 *at) { return values[*at]; });
  case Element::int8: return each(1, [](const u8 *at) { return int{static_cast<std::int8_t>(*at)}; });
  case Element::uint8: return each(1, [](const u8 *at) { return *at; });
  }
}

template <class T>
struct Buffers {
  std::vector<T> a;
  std::vector<T> b;
  std::vector<T> sum;
};

template <class T>
Buffers<T> &decode_operands(const WgmmaShape &shape, const WgmmaOperands &operands) {
  thread_local Buffers<T> buffers; // reused: this is called often
  buffers.a.resize(std::size_t{wgmma_rows} * shape.a_columns());
  decode(shape.a, operands.a.data(), 1, wgmma_rows * shape.a_columns(), buffers.a.data());
  if (operands.negate) {
    for (T &each : buffers.a) {
      each = -each;
    }
  }
  buffers.b.resize(std::size_t{shape.k()} * shape.n);
  decode(shape.b, operands.b.data(), shape.n, shape.k(), buffers.b.data());
  buffers.sum.assign(std::size_t{wgmma_rows} * shape.n, T{0});
  return buffers;
}

void multiply_integers(const WgmmaShape &shape, const WgmmaOperands &operands, bool accumulate, u32 *d) {
  auto &[a, b, sum] = decode_operands<s32>(shape, operands);
  multiply_numbers(a.data(), operands.position.data(), b.data(), shape.a_columns(), shape.n, sum.data());
  for (std::size_t i = 0; i < sum.size(); ++i) {
    long long total = sum[i] + (accumulate ? static_cast<long long>(static_cast<s32>(d[i])) : 0LL);
    if (shape.saturate) {
      total = std::clamp<long long>(total, std::numeric_limits<s32>::min(), std::numeric_limits<s32>::max());
    }
    d[i] = static_cast<u32>(total);
  }
}

void multiply_floats(const WgmmaShape &shape, const WgmmaOperands &operands, bool accumulate, u32 *d) {
  auto &[a, b, sum] = decode_operands<double>(shape, operands);
  const bool halves = shape.accumulator == AccumulatorType::f16;
  for (std::size_t i = 0; accumulate && i < sum.size(); ++i) {
    sum[i] = static_cast<double>(halves ? f16_bits_to_float(d[i]) : std::bit_cast<float>(d[i]));
  }
  multiply_numbers(a.data(), operands.position.data(), b.data(), shape.a_columns(), shape.n, sum.data());
  for (std::size_t i = 0; i < sum.size(); ++i) {
    d[i] = halves ? sum_to_f16_bits(sum[i]) : sum_to_f32_bits(sum[i]);
  }
}

} // namespace

void multiply(const WgmmaShape &shape, const WgmmaOperands &operands, bool accumulate, u32 *d) {
  if (shape.accumulator == AccumulatorType::int32) {
    multiply_integers(shape, operands, accumulate, d);
  } else {
    multiply_floats(shape, operands, accumulate, d);
  }
}

} // namespace sale::emulator
