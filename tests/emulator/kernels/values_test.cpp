// SPDX-License-Identifier: Apache-2.0
// libsale's values kernel (V to codes, for attend in fp8) against the oracle, bit for bit.
#include "tests/emulator/kernels/kernel_test.hpp"

#include "args/values_args.cuh"
#include "generator/generate.hpp"
#include "reference/attend_fp8.hpp"
#include "reference/element.hpp"
#include "reference/synthetic.hpp"

#include <algorithm>
#include <cmath>

namespace sale::test {
namespace {

struct Case {
  const char *name;
  int head_dim = 128;
  int kv_len = 300;
  DType dtype = DType::bf16;
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

KernelSpec spec_of(const Case &c) {
  KernelSpec spec;
  spec.stage = Stage::values;
  spec.arch = {9, 0, true};
  spec.dtype = c.dtype;
  spec.head_dim = c.head_dim;
  spec.tile = default_tile(spec);
  return spec;
}

// Where the code of a key and a channel lies within its block (templates/values/values.cuh), written down differently:
// place[i] is the key of byte i.
std::size_t place_of(int key, int channel) {
  static constexpr int keys[32] = {0,  1,  8,  9,  2,  3,  10, 11, 4,  5,  12, 13, 6,  7,  14, 15,
                                   16, 17, 24, 25, 18, 19, 26, 27, 20, 21, 28, 29, 22, 23, 30, 31};
  const auto byte = static_cast<std::size_t>(std::find(std::begin(keys), std::end(keys), key) - std::begin(keys));
  const auto row = static_cast<std::size_t>(channel);
  return row * 32 + (byte ^ (row / 4 % 2 * 16));
}

class Values : public KernelTest, public ::testing::WithParamInterface<Case> {};

TEST_P(Values, HaveTheCodesAndScalesOfTheOracle) {
  const Case &c = GetParam();
  constexpr int heads = 3;
  Problem problem;
  problem.dtype = c.dtype;
  problem.head_dim = c.head_dim;
  problem.num_q_heads = heads;
  problem.num_kv_heads = heads;
  reference::Tensors tensors = reference::structured(problem, {1, 1, c.kv_len}, 7);
  const auto row = static_cast<std::size_t>(c.head_dim);
  // First blocks: of one head as they are, of another of zeros, of a third at the end of a binade's codes.
  const std::size_t first_block = static_cast<std::size_t>(std::min(32, c.kv_len)) * row;
  std::fill_n(tensors.v.begin() + static_cast<std::ptrdiff_t>(row) * c.kv_len, first_block, 0.0F);
  std::fill_n(tensors.v.begin() + static_cast<std::ptrdiff_t>(row) * c.kv_len * 2, first_block, 1.75F);

  Device &device = Device::get();
  const int groups = (c.kv_len + 31) / 32;
  const int blocks = (c.kv_len + 127) / 128 * 4;
  const auto v = device.upload(reference::to_elements(tensors.v, c.dtype));
  const auto k_scales =
      device.upload(std::vector<std::uint32_t>(static_cast<std::size_t>(heads * blocks), 0x44004400)); // 4
  const auto codes = device.allocate(static_cast<std::size_t>(heads * blocks) * 32 * row);
  const auto scales = device.allocate(static_cast<std::size_t>(heads * blocks) * 16);
  ValuesArgs args{};
  args.v = {v->as<void>(), 0, static_cast<long long>(c.kv_len) * c.head_dim, c.head_dim};
  args.k_scales = k_scales->as<unsigned>();
  args.codes = codes->as<unsigned char>();
  args.scales = scales->as<float>();
  args.num_kv_heads = heads;
  args.kv_len = c.kv_len;
  const KernelSpec spec = spec_of(c);
  device.run(generate(spec), spec.entry_name().c_str(), {static_cast<unsigned>(blocks), heads},
             static_cast<unsigned>(spec.threads()), static_cast<unsigned>(spec.shared_memory()), {&args});

  const reference::QuantizedValues expected = reference::quantize_values_fp8(tensors);
  const std::vector<std::int8_t> got = codes->read<std::int8_t>();
  const std::vector<float> got_scales = scales->read<float>();
  for (int head = 0; head < heads; ++head) {
    for (int key = 0; key < blocks * 32; ++key) {
      const std::size_t block = static_cast<std::size_t>(head * blocks + key / 32);
      for (int d = 0; d < c.head_dim; ++d) {
        const std::size_t at = (static_cast<std::size_t>(head) * c.kv_len + key) * row + static_cast<std::size_t>(d);
        ASSERT_EQ(got[block * 32 * row + place_of(key % 32, d)], key < c.kv_len ? expected.codes[at] : 0)
            << "head " << head << " key " << key << " channel " << d;
      }
    }
    for (int block = 0; block < groups; ++block) {
      const float *scale = got_scales.data() + static_cast<std::size_t>(head * blocks + block) * 4;
      EXPECT_EQ(scale[0], 0.25F);
      EXPECT_EQ(scale[1], -std::log2(scale[2]));
      const bool zeros = head == 1 && block == 0;
      EXPECT_EQ(1 / scale[2],
                zeros ? std::ldexp(1.0F, -100) : expected.scales[static_cast<std::size_t>(head * groups + block)])
          << "head " << head << " block " << block;
    }
  }
}

TEST_P(Values, IsGoodOnHopper) { expect_good_hopper_code(generate(spec_of(GetParam()))); }

INSTANTIATE_TEST_SUITE_P(Cases, Values,
                         ::testing::Values(Case{.name = "d128"}, Case{.name = "d64", .head_dim = 64, .kv_len = 129},
                                           Case{.name = "d256", .head_dim = 256, .kv_len = 96, .dtype = DType::f16},
                                           Case{.name = "d128_f16", .kv_len = 31, .dtype = DType::f16}));

} // namespace
} // namespace sale::test
