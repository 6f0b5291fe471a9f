// SPDX-License-Identifier: Apache-2.0
// The codes of probabilities of libsale's attend in e4m3, one by one, against a model of them (docs/numerics.md,
// section 14). A key has one channel, so that scores are exact in any order of summation, and a channel has the value
// of one key, so that outputs show single codes.
#include "tests/emulator/kernels/kernel_test.hpp"
#include "tests/emulator/kernels/value_place.hpp"

#include "args/attend_wgmma_args.cuh"
#include "generator/generate.hpp"
#include "reference/element.hpp"
#include "reference/float8.hpp"
#include "reference/mask.hpp"
#include "reference/tensors.hpp"
#include "runtime/tensor_maps.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>
#include <span>

namespace sale::test {
namespace {

using reference::ceil_div;

constexpr int batch = 2;
constexpr int heads = 2; // of queries: they share keys and values
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr float softmax_scale = 0.0862F; // eighths of a factor of two are 1.99 / 2 times larger

// A key whose score with all rows is high.
struct HighKey {
  int key;
  float size;
};

struct Case {
  const char *name;
  std::vector<HighKey> high = {{0, 20}};
  int head_dim = 128;
  int q_len = 150;
  int kv_len = 500;
  int keys_per_step = 128;
  int q_exponent = 0; ///< Queries are larger by two to the power of this, every
  int q_spread = 1;   ///< row of so many by one power more than that before.
  int k_exponent = 0; ///< Keys are larger by two to the power of this.
  bool holes = false; ///< Kept are blocks 0 to 2, in the second query block blocks 1 and 2.
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

KernelSpec spec_of(const Case &c) {
  KernelSpec spec;
  spec.stage = Stage::attend;
  spec.arch = {9, 0, true};
  spec.head_dim = c.head_dim;
  spec.gqa = heads;
  spec.block_q = 64;
  spec.block_k = 32;
  spec.dense = !c.holes;
  spec.fp8_attend = true;
  spec.tile = {.rows_per_warp = 16, .warps = 8, .keys_per_step = c.keys_per_step, .stages = 3, .min_ctas = 1};
  return spec;
}

double round_to_half(double x) {
  if (!std::isfinite(x) || x == 0) {
    return x;
  }
  const int exponent = std::max(std::ilogb(x), -14) - 10;
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(x, -exponent)), exponent);
  return std::abs(rounded) < 65536 ? rounded : std::copysign(infinity, x);
}

double value_of(std::uint8_t code) { return reference::e4m3_values()[code]; }

// What attend reads, of each batch element and KV head alike but for the draws.
struct Inputs {
  explicit Inputs(const Case &c) : blocks(ceil_div(c.kv_len, 128) * 4) {
    std::mt19937 random(static_cast<unsigned>(c.kv_len + c.head_dim));
    std::normal_distribution<float> normal;
    const auto dim = static_cast<std::size_t>(c.head_dim);
    for (int row = 0; row < batch * heads * c.q_len; ++row) {
      const int i = row % c.q_len;
      std::vector<float> values(dim);
      for (float &x : values) {
        x = i % 16 == 3 ? 0.0F : 3 * normal(random);
      }
      // Where it is the only channel it uses up all that codes have.
      values[0] = i % 16 == 3 ? 3.984375F : 6.0F + static_cast<float>(i % 8) / 4;
      for (const float x : values) {
        const float scaled = std::ldexp(x, c.q_exponent + i % c.q_spread);
        q.push_back(reference::round_to_element(scaled, DType::bf16));
      }
    }
    for (int b = 0; b < batch; ++b) {
      std::vector<float> size;
      for (int key = 0; key < c.kv_len; ++key) {
        channel.push_back(1 + static_cast<int>(random() % (dim - 1)));
        size.push_back(static_cast<float>(8 + random() % 8) * std::ldexp(0.25F, static_cast<int>(random() % 3)) *
                       (random() % 4 == 0 ? -1.0F : 1.0F));
      }
      for (const HighKey &high : c.high) {
        channel[b * c.kv_len + high.key] = 0;
        size[high.key] = high.size;
      }
      for (int block = 0; block < blocks; ++block) {
        const std::size_t first = std::min(std::size_t{32} * block, size.size());
        const std::span sizes = std::span(size).subspan(first, std::min<std::size_t>(32, size.size() - first));
        float largest = 1;
        for (const float x : sizes) {
          largest = std::max(largest, std::abs(x));
        }
        // Codes of up to 256 in every third block.
        const int exponent = std::clamp(8 - std::ilogb(largest) - block % 3 - c.k_exponent, -14, 15);
        scale.push_back(std::ldexp(1.0, -exponent));
        for (const float x : sizes) {
          k_codes.push_back(reference::float_to_e4m3(std::ldexp(x, c.k_exponent + exponent)));
        }
      }
      amax.push_back(std::ldexp(300.0F, 5 * b));
      for (int d = 0; d < c.head_dim; ++d) {
        kbar.push_back(normal(random) * std::ldexp(1.0F, -c.q_exponent));
      }
    }
  }

  // The one with a value in a channel.
  static int key_of(const Case &c, int d) { return d * c.kv_len / c.head_dim; }
  static std::uint8_t value_code(int d) { return static_cast<std::uint8_t>(0x40 + d % 48); }

  std::vector<std::uint8_t> codes_of_k(const Case &c) const {
    std::vector<std::uint8_t> codes(k_codes.size() * static_cast<std::size_t>(c.head_dim), 0);
    for (std::size_t i = 0; i < k_codes.size(); ++i) {
      codes[i * static_cast<std::size_t>(c.head_dim) + static_cast<std::size_t>(channel[i])] = k_codes[i];
    }
    return codes;
  }
  std::vector<std::uint8_t> codes_of_v(const Case &c) const {
    const std::size_t block_bytes = static_cast<std::size_t>(c.head_dim) * 32;
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(batch * blocks) * block_bytes, 0);
    for (int b = 0; b < batch; ++b) {
      for (int d = 0; d < c.head_dim; ++d) {
        const int key = key_of(c, d);
        const std::size_t block = b * blocks + key / 32;
        codes[block * block_bytes + value_place(key % 32, d)] = value_code(d);
      }
    }
    return codes;
  }
  // As `values` leaves them.
  std::vector<std::uint32_t> scale_words() const {
    std::vector<std::uint32_t> words(scale.size() * 4, 0);
    for (std::size_t i = 0; i < scale.size(); ++i) {
      words[i * 4] = reference::float_to_f16(static_cast<float>(scale[i])) * 0x10001U;
    }
    return words;
  }

  int blocks;
  std::vector<float> q;
  std::vector<int> channel; ///< Of each key.
  std::vector<std::uint8_t> k_codes;
  std::vector<double> scale; ///< 2^-xk of each block.
  std::vector<float> amax;
  std::vector<float> kbar;
};

// A row of queries and what it has summed up so far.
struct Row {
  std::vector<double> codes;
  double unit = 0;
  int position = 0;
  double offset = infinity; ///< 1024 - 8 M
  double sum = 0;
  std::vector<double> out;

  Row(std::span<const float> q, int at) : position(at), out(q.size(), 0.0) {
    const float scale = softmax_scale * std::numbers::log2e_v<float> * 8.0F;
    const int scale_exponent = std::ilogb(scale);
    const float mantissa = std::ldexp(scale, -scale_exponent);
    double norm = 0;
    for (const float x : q) {
      norm += std::pow(static_cast<double>(x) * mantissa, 2);
    }
    const int height = static_cast<int>(std::floor(std::ilogb(norm) / 2.0)) + 1;
    const int exponent = std::clamp(7 - height, scale_exponent - 15, scale_exponent + 24);
    for (const float x : q) {
      codes.push_back(value_of(reference::float_to_e4m3(x * (mantissa * std::ldexp(1.0F, exponent)))));
    }
    unit = std::ldexp(1.0, scale_exponent - exponent);
  }

  void scale_by(double factor) {
    sum *= factor;
    std::for_each(out.begin(), out.end(), [=](double &x) { x *= factor; });
  }
};

// The rows of a warp, which move their bases together.
class Warp {
public:
  Warp(const Case &c, const Inputs &inputs, int b) : case_(c), inputs_(inputs), b_(b) {}

  void add(std::span<const float> q, int position) { rows.emplace_back(q, position); }

  // Keys first, first + 1, ... end - 1.
  void take_tile(int first, int end) {
    std::vector<std::vector<double>> codes;
    if (std::any_of(rows.begin(), rows.end(), [](const Row &row) { return row.offset == infinity; })) {
      std::for_each(rows.begin(), rows.end(), [&](Row &row) { raise_base(row, first, end); });
    }
    double top = 0;
    for (const Row &row : rows) {
      codes.push_back(encode(row, first, end));
      top = std::max(top, *std::max_element(codes.back().begin(), codes.back().end()));
    }
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (top > 126) {
        lower(rows[i], codes[i]);
      }
      for (int key = first; key < end; ++key) {
        const double p = value_of(static_cast<std::uint8_t>(codes[i][static_cast<std::size_t>(key - first)]));
        rows[i].sum += p;
        for (int d = 0; d < case_.head_dim; ++d) {
          if (Inputs::key_of(case_, d) == key) {
            rows[i].out[static_cast<std::size_t>(d)] += p * value_of(Inputs::value_code(d));
          }
        }
      }
    }
  }

  std::vector<Row> rows;

private:
  double product(const Row &row, int key) const {
    const std::size_t at = b_ * case_.kv_len + key;
    return key > row.position
               ? -infinity
               : row.codes[static_cast<std::size_t>(inputs_.channel[at])] * value_of(inputs_.k_codes[at]);
  }
  double unit(const Row &row, int key) const {
    return round_to_half(row.unit * inputs_.scale[b_ * inputs_.blocks + key / 32] + 0x1p-24);
  }

  std::vector<double> encode(const Row &row, int first, int end) const {
    std::vector<double> codes;
    const double low_offset = round_to_half(row.offset / 4 + 1024 + 4.5 - 256);
    for (int key = first; key < end; ++key) {
      const double x = product(row, key);
      const double steps = round_to_half(x * unit(row, key) + row.offset);
      const double line = round_to_half(x * round_to_half(unit(row, key) / 4) + low_offset);
      codes.push_back(std::fmax(std::fmax(steps, line), 1024.0) - 1024);
    }
    return codes;
  }

  void raise_base(Row &row, int first, int end) const {
    double highest = -infinity;
    for (int key = first; key < end; ++key) {
      highest = std::max(highest, round_to_half(product(row, key) * unit(row, key)));
    }
    const double offset = round_to_half(1024 + 112 - highest);
    if (offset < row.offset) {
      row.scale_by(std::exp2((offset - row.offset) / 8));
      row.offset = offset;
    }
  }

  static void lower(Row &row, std::vector<double> &codes) {
    const double top = *std::max_element(codes.begin(), codes.end());
    if (top > 126) {
      const double offset = round_to_half(row.offset - std::ceil((top - 112) / 8) * 8);
      const double moved = row.offset - offset;
      row.scale_by(std::exp2(-moved / 8));
      row.offset = offset;
      std::for_each(codes.begin(), codes.end(), [=](double &x) { x = std::max(x - moved, 0.0); });
    }
  }

  const Case &case_;
  const Inputs &inputs_;
  int b_;
};

// Tiles of a consumer, first key and end.
std::vector<std::pair<int, int>> tiles_of(const Case &c, int first_row) {
  if (c.holes) {
    return first_row == 0 ? std::vector<std::pair<int, int>>{{32, 96}, {0, 32}} : std::vector{std::pair{32, 96}};
  }
  std::vector<std::pair<int, int>> tiles;
  const int visible = std::min(c.kv_len - c.q_len + first_row + 64, c.kv_len);
  for (int first = 0; first < visible; first += c.keys_per_step) {
    tiles.emplace_back(first, std::min(first + c.keys_per_step, visible));
  }
  return tiles;
}

struct Outputs {
  std::vector<std::uint16_t> out;
  std::vector<float> lse;
};

Outputs run(const Case &c, const Inputs &inputs) {
  Device &device = Device::get();
  const KernelSpec spec = spec_of(c);
  const auto q = device.upload(reference::to_elements(inputs.q, DType::bf16));
  const auto k = device.upload(inputs.codes_of_k(c));
  const auto v = device.upload(inputs.codes_of_v(c));
  const auto scales = device.upload(inputs.scale_words());
  const auto amax = device.upload(inputs.amax);
  const auto kbar = device.upload(inputs.kbar);
  const auto out = device.allocate(inputs.q.size() * 2);
  const auto lse = device.allocate(inputs.q.size() / static_cast<std::size_t>(c.head_dim) * 4);
  Problem problem;
  problem.num_q_heads = heads;
  problem.num_kv_heads = 1;
  problem.head_dim = c.head_dim;
  reference::Mask bits(Shape{batch, c.q_len, c.kv_len}, heads, 64, 32);
  for (int i = 0; i < batch * heads * 3; ++i) {
    for (int m = 0; m < bits.q_blocks(); ++m) {
      bits.set(i / 3 / heads, i / 3 % heads, m, i % 3, i % 3 >= m);
    }
  }
  const auto mask = device.upload(bits.words());
  const TensorView view = packed_view(q->as<void>(), heads, c.q_len, c.head_dim);
  AttendWgmmaArgs args{};
  args.q = map_tensor(device.driver(), view, DType::bf16, batch, heads, c.q_len, c.head_dim, 64);
  args.k = map_codes(device.driver(), k->as<void>(), batch, c.kv_len, c.head_dim, spec.keys_per_copy());
  args.v_codes = v->as<unsigned char>();
  args.scales = scales->as<unsigned>();
  args.v_amax = amax->as<unsigned>();
  args.kbar = kbar->as<float>();
  args.out = {out->as<void>(), view.stride_batch, view.stride_head, view.stride_token};
  args.lse = lse->as<float>();
  args.mask = mask->as<unsigned>();
  args.batch = batch;
  args.num_q_heads = heads;
  args.q_len = c.q_len;
  args.kv_len = c.kv_len;
  args.mask_words = bits.words_per_row();
  args.softmax_scale = softmax_scale;
  device.run(generate(spec), spec.entry_name().c_str(), {2, 1}, static_cast<unsigned>(spec.threads()),
             static_cast<unsigned>(spec.shared_memory()), {&args});
  return {out->read<std::uint16_t>(), lse->read<float>()};
}

// Tensor cores keep about 14 bits of a sum, outputs have 8.
constexpr double out_bound = 0x1p-8;
constexpr double lse_bound = 2e-3;
const double line_over_power = 1 / (2 * std::numbers::ln2 * std::numbers::ln2); // on the average

void compare(const Case &c, const Inputs &inputs, const Outputs &got, const Row &row, int b, std::size_t index) {
  const auto dim = static_cast<std::size_t>(c.head_dim);
  const double unit = std::ldexp(1.0, 5 * b); // of values
  for (std::size_t d = 0; d < dim; ++d) {
    const double expected = row.out[d] / row.sum * unit;
    ASSERT_NEAR(reference::bf16_to_float(got.out[index * dim + d]), expected, out_bound * expected + 0x1p-110)
        << "row " << index << " key " << Inputs::key_of(c, static_cast<int>(d));
  }
  double along_mean = 0;
  for (std::size_t d = 0; d < dim; ++d) {
    along_mean += static_cast<double>(inputs.q[index * dim + d]) * inputs.kbar[static_cast<std::size_t>(b) * dim + d];
  }
  const double lse = (std::log2(row.sum / line_over_power) + (1024 + 56 - row.offset) / 8) * std::numbers::ln2 +
                     static_cast<double>(softmax_scale) * along_mean;
  ASSERT_NEAR(got.lse[index], lse, lse_bound) << "row " << index;
}

void run_and_compare(const Case &c) {
  const Inputs inputs(c);
  const Outputs got = run(c, inputs);
  const auto dim = static_cast<std::size_t>(c.head_dim);
  for (int h = 0; h < batch * heads; ++h) {
    for (int first = 0; first < c.q_len; first += 16) {
      Warp warp(c, inputs, h / heads);
      for (int i = first; i < std::min(first + 16, c.q_len); ++i) {
        const auto at = static_cast<std::size_t>(h * c.q_len + i) * dim;
        warp.add(std::span(inputs.q).subspan(at, dim), c.kv_len - c.q_len + i);
      }
      for (const auto &[begin, end] : tiles_of(c, first / 64 * 64)) {
        warp.take_tile(begin, end);
      }
      for (std::size_t i = 0; i < warp.rows.size(); ++i) {
        ASSERT_NO_FATAL_FAILURE(
            compare(c, inputs, got, warp.rows[i], h / heads, static_cast<std::size_t>(h * c.q_len + first) + i));
      }
    }
  }
}

class AttendFp8Codes : public KernelTest, public ::testing::WithParamInterface<Case> {};

TEST_P(AttendFp8Codes, OfProbabilitiesAreThoseOfTheModel) { run_and_compare(GetParam()); }

std::string name_of(const ::testing::TestParamInfo<Case> &info) { return info.param.name; }

const std::vector<HighKey> steps = {{0, 20}, {139, 22}, {257, 26}, {412, 32}}; // in each eight columns of blocks

INSTANTIATE_TEST_SUITE_P(
    Cases, AttendFp8Codes,
    ::testing::Values(
        Case{.name = "one_base"}, Case{.name = "steps", .high = steps},
        Case{.name = "a_step_past_1023", .high = {{0, 20}, {200, 448}, {225, 448}}},
        Case{.name = "long_rows",
             .high = {{0, 20}, {655, 22}, {786, 26}, {1000, 32}, {1188, 36}, {1291, 44}, {1670, 52}},
             .kv_len = 1700},
        Case{.name = "narrow_rows", .high = steps, .head_dim = 64},
        Case{.name = "three_granules_a_tile", .high = steps, .keys_per_step = 96},
        Case{.name = "wide_rows", .high = steps, .head_dim = 256, .keys_per_step = 64},
        Case{.name = "units_too_small", .high = {{0, 32}}, .q_exponent = -24, .q_spread = 4, .k_exponent = 17},
        Case{.name = "units_too_large", .q_exponent = 17, .q_spread = 3, .k_exponent = -18},
        Case{.name = "a_base_for_some_rows_of_a_warp",
             .high = {{35, 20}},
             .q_len = 128,
             .kv_len = 136,
             .keys_per_step = 64,
             .holes = true}),
    name_of);

} // namespace
} // namespace sale::test
