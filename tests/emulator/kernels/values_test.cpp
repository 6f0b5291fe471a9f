// SPDX-License-Identifier: Apache-2.0
// libsale's amax and values kernels (V to codes, for attend in fp8) against the oracle, bit for bit.
#include "tests/emulator/kernels/kernel_test.hpp"
#include "tests/emulator/kernels/value_place.hpp"

#include "args/amax_args.cuh"
#include "args/values_args.cuh"
#include "generator/generate.hpp"
#include "reference/attend_fp8.hpp"
#include "reference/element.hpp"
#include "reference/synthetic.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <span>

namespace sale::test {
namespace {

struct Case {
  const char *name;
  int head_dim = 128;
  int kv_len = 300;
  DType dtype = DType::bf16;
  int tokens_per_split = 256; ///< Of amax.
  int gap = 0;                ///< Elements between rows that nobody may read.
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

KernelSpec spec_of(const Case &c, Stage stage) {
  KernelSpec spec;
  spec.stage = stage;
  spec.arch = {9, 0, true};
  spec.dtype = c.dtype;
  spec.head_dim = c.head_dim;
  spec.tile = default_tile(spec);
  return spec;
}

// What each head is made of: the draws as they are, zeros, what just fits the codes, what just does not, a NaN,
// infinity.
constexpr int heads = 6;
constexpr int batch = 2; // halves of them

class Values : public KernelTest, public ::testing::WithParamInterface<Case> {
protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    const Case &c = GetParam();
    Problem problem;
    problem.dtype = c.dtype;
    problem.head_dim = c.head_dim;
    problem.num_q_heads = heads;
    problem.num_kv_heads = heads;
    tensors_ = reference::structured(problem, {1, 1, c.kv_len}, 7);
    const auto size = static_cast<std::ptrdiff_t>(c.kv_len) * c.head_dim;
    const auto head = [&](int h) { return tensors_.v.begin() + h * size; };
    std::fill_n(head(1), size, 0.0F);
    for (float &x : std::span(head(2), head(4))) {
      x = std::clamp(x, -1.0F, 1.0F);
    }
    head(2)[size - 1] = -1.75F; // the last key's last channel
    head(3)[size - 2] = 1.765625F;
    head(4)[size / 2] = std::numeric_limits<float>::quiet_NaN();
    head(4)[size - 1] = std::numeric_limits<float>::infinity();
    head(5)[0] = -std::numeric_limits<float>::infinity();
    upload();
    amax_ = Device::get().upload(std::vector<std::uint32_t>(heads, 0));
  }

  TensorArg v() const {
    const Case &c = GetParam();
    const long long stride = c.head_dim + c.gap;
    return {v_->as<void>(), heads / batch * stride * c.kv_len, stride * c.kv_len, stride};
  }

  void run(Stage stage, int blocks, void *args) const {
    const KernelSpec spec = spec_of(GetParam(), stage);
    Device::get().run(generate(spec), spec.entry_name().c_str(), {static_cast<unsigned>(blocks), heads / batch, batch},
                      static_cast<unsigned>(spec.threads()), static_cast<unsigned>(spec.shared_memory()), {args});
  }

  void run_amax() const {
    const Case &c = GetParam();
    AmaxArgs args{};
    args.x = v();
    args.amax = amax_->as<unsigned>();
    args.heads = heads / batch;
    args.len = c.kv_len;
    args.tokens_per_split = c.tokens_per_split;
    run(Stage::amax, reference::ceil_div(c.kv_len, c.tokens_per_split), &args);
  }

  reference::Tensors tensors_;
  std::unique_ptr<DeviceBuffer> v_, amax_;

private:
  void upload() {
    const Case &c = GetParam();
    const std::vector<std::uint16_t> elements = reference::to_elements(tensors_.v, c.dtype);
    const auto row = static_cast<std::size_t>(c.head_dim);
    const std::size_t stride = row + static_cast<std::size_t>(c.gap);
    std::vector<std::uint16_t> spread(elements.size() / row * stride, 0x7fff); // NaN
    for (std::size_t i = 0; i < elements.size(); ++i) {
      spread[i / row * stride + i % row] = elements[i];
    }
    v_ = Device::get().upload(spread);
  }
};

TEST_P(Values, LargestMagnitudeOfEachHeadIsFound) {
  const Case &c = GetParam();
  run_amax();
  const std::vector<float> got = amax_->read<float>();
  const std::size_t size = static_cast<std::size_t>(c.kv_len) * static_cast<std::size_t>(c.head_dim);
  for (std::size_t head = 0; head < heads; ++head) {
    float expected = 0;
    for (const float x : std::span(tensors_.v).subspan(head * size, size)) {
      expected = std::max(expected, std::fabs(x));
    }
    if (head == 4) {
      EXPECT_TRUE(std::isnan(got[head]));
    } else {
      EXPECT_EQ(got[head], expected) << head;
    }
  }
}

TEST_P(Values, HaveTheCodesAndScalesOfTheOracle) {
  const Case &c = GetParam();
  const auto row = static_cast<std::size_t>(c.head_dim);
  const Device &device = Device::get();
  const int groups = (c.kv_len + 31) / 32;
  const int blocks = (c.kv_len + 127) / 128 * 4;
  // 4, the least and the largest scale of K, and that of a group that is always kept; none past the last key.
  constexpr std::array<std::uint16_t, 4> k_scale = {0x4400, 0x0400, 0x7800, 0x7e00};
  constexpr std::array<std::uint16_t, 4> inverse = {0x3400, 0x7400, 0x0200, 0x7fff};
  std::vector<std::uint32_t> words(std::size_t{1} * heads * blocks, 0);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool exists = static_cast<int>(i) % blocks < groups;
    words[i] = exists ? k_scale[i % 4] * 0x10001U : 0;
  }
  const auto k_scales = device.upload(words);
  const auto codes = device.allocate(std::size_t{1} * heads * blocks * 32 * row);
  const auto scales = device.allocate(std::size_t{1} * heads * blocks * 16);
  ValuesArgs args{};
  args.v = v();
  args.k_scales = k_scales->as<unsigned>();
  args.amax = amax_->as<unsigned>();
  args.codes = codes->as<unsigned char>();
  args.scales = scales->as<unsigned>();
  args.num_kv_heads = heads / batch;
  args.kv_len = c.kv_len;
  run_amax();
  run(Stage::values, blocks, &args);

  const reference::QuantizedValues expected = reference::quantize_values_fp8(tensors_);
  const std::vector<std::int8_t> got = codes->read<std::int8_t>();
  const std::vector<std::uint16_t> got_scales = scales->read<std::uint16_t>();
  for (int head = 0; head < heads; ++head) {
    for (int key = 0; key < blocks * 32; ++key) {
      const std::size_t block = head * blocks + key / 32;
      for (int d = 0; d < c.head_dim; ++d) {
        const std::size_t at = (static_cast<std::size_t>(head) * c.kv_len + key) * row + static_cast<std::size_t>(d);
        ASSERT_EQ(got[block * 32 * row + value_place(key % 32, d)], key < c.kv_len ? expected.codes[at] : 0)
            << "head " << head << " key " << key << " channel " << d;
      }
    }
    for (int block = 0; block < blocks; ++block) {
      const std::size_t i = head * blocks + block;
      const std::uint16_t scale = block < groups ? inverse[i % 4] : 0x3c00; // 1
      EXPECT_EQ(got_scales[i * 8], scale) << "head " << head << " block " << block;
      EXPECT_EQ(got_scales[i * 8 + 1], scale);
      EXPECT_TRUE(std::all_of(got_scales.begin() + static_cast<std::ptrdiff_t>(i * 8 + 2),
                              got_scales.begin() + static_cast<std::ptrdiff_t>(i * 8 + 8),
                              [](std::uint16_t half) { return half == 0; }));
    }
  }
}

TEST_P(Values, IsGoodOnHopper) {
  expect_good_hopper_code(generate(spec_of(GetParam(), Stage::amax)));
  expect_good_hopper_code(generate(spec_of(GetParam(), Stage::values)));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Values,
    ::testing::Values(Case{.name = "d128"}, Case{.name = "d64", .head_dim = 64, .kv_len = 129, .tokens_per_split = 60},
                      Case{.name = "d256", .head_dim = 256, .kv_len = 96, .dtype = DType::f16, .tokens_per_split = 95},
                      Case{.name = "d128_f16", .kv_len = 31, .dtype = DType::f16, .gap = 8},
                      Case{.name = "one_key", .kv_len = 1}, Case{.name = "d128_gap", .kv_len = 257, .gap = 64}));

} // namespace
} // namespace sale::test
