// SPDX-License-Identifier: Apache-2.0
// Tensors and masks that are measured with, on an emulated device.
#include "autotune/measure/masks.hpp"
#include "bench/input.hpp"
#include "bench/random_mask.hpp"
#include "check/emulator_controls.hpp"
#include "io/safetensors.hpp"
#include "tests/support/temporary_folder.hpp"

#include <gtest/gtest.h>

#include <span>

namespace sale::autotune {
namespace {

class EmulatedInputs : public testing::Test {
protected:
  EmulatedInputs() {
    options_.cuda_driver = SALE_EMULATOR_LIBRARY;
    options_.use_disk_cache = false;
    options_.arch = "sm_80";
    check::EmulatorControls(device_->driver()).set_workers(1);
    problem_.num_q_heads = 2;
    problem_.num_kv_heads = 1;
    problem_.head_dim = 64;
  }

  static std::vector<std::uint16_t> elements(const DeviceArray &array) {
    std::vector<std::uint16_t> values(array.bytes() / sizeof(std::uint16_t));
    array.download(values.data());
    return values;
  }

  std::shared_ptr<const Device> device_ = std::make_shared<const Device>(Driver::open(SALE_EMULATOR_LIBRARY), 0);
  CurrentContext current_{*device_};
  Options options_;
  Problem problem_;
};

TEST_F(EmulatedInputs, are_the_structured_data_of_each_length) {
  Inputs inputs(device_, {});
  const Input &input = inputs.get(problem_, 256);
  const io::Qkv expected = bench::make_input(problem_, {1, 256, 256}, 0.12);
  EXPECT_EQ(elements(input.q), expected.q);
  EXPECT_EQ(elements(input.k), expected.k);
  EXPECT_EQ(elements(input.v), expected.v);
  EXPECT_GT(input.largest_value, 0);
  EXPECT_EQ(&inputs.get(problem_, 256), &input) << "made once";
  EXPECT_EQ(elements(inputs.get(problem_, 128).q), bench::make_input(problem_, {1, 128, 128}, 0.12).q);
  EXPECT_EQ(inputs.get(problem_, 256).shape.kv_len, 256);
}

TEST_F(EmulatedInputs, bring_sink_logits_to_models_that_have_them) {
  Inputs inputs(device_, {});
  EXPECT_EQ(inputs.get(problem_, 64).args().sink_logits, nullptr);
  problem_.sink_logits = true;
  EXPECT_NE(inputs.get(problem_, 64).args().sink_logits, nullptr);
}

class FileInputs : public EmulatedInputs {
protected:
  void write(int q_len, int kv_len) {
    made_ = bench::make_input(problem_, {1, q_len, kv_len}, 0.12);
    const auto tensor = [&](const char *name, const std::vector<std::uint16_t> &values, int heads, int tokens) {
      const auto extent = [](int size) { return static_cast<std::uint64_t>(size); };
      return io::TensorToWrite{name,
                               "BF16",
                               {1, extent(heads), extent(tokens), extent(problem_.head_dim)},
                               std::as_bytes(std::span(values))};
    };
    io::write_safetensors(settings_.file, {tensor("q", made_.q, 2, q_len), tensor("k", made_.k, 1, kv_len),
                                           tensor("v", made_.v, 1, kv_len)});
  }
  std::string refusal(const Problem &problem, int tokens) {
    try {
      Inputs(device_, settings_).get(problem, tokens);
    } catch (const Error &error) {
      return error.what();
    }
    return "";
  }

  TemporaryFolder folder_;
  InputSettings settings_{.file = folder_.path() / "qkv.safetensors"};
  io::Qkv made_;
};

TEST_F(FileInputs, are_the_first_tokens_of_each_head) {
  write(96, 96);
  Inputs inputs(device_, settings_);
  EXPECT_EQ(elements(inputs.get(problem_, 96).q), made_.q);
  const std::vector<std::uint16_t> q = elements(inputs.get(problem_, 64).q);
  ASSERT_EQ(q.size(), 2U * 64 * 64);
  EXPECT_TRUE(std::equal(q.begin(), q.begin() + 64 * 64, made_.q.begin()));
  EXPECT_TRUE(std::equal(q.begin() + 64 * 64, q.end(), made_.q.begin() + 96 * 64)) << "the second head";
  EXPECT_EQ(elements(inputs.get(problem_, 64).k),
            std::vector<std::uint16_t>(made_.k.begin(), made_.k.begin() + 64 * 64));
}

TEST_F(FileInputs, are_refused_where_they_do_not_suit) {
  write(96, 96);
  EXPECT_NE(refusal(problem_, 128).find("has 96 tokens, fewer than 128"), std::string::npos) << refusal(problem_, 128);
  Problem other = problem_;
  other.num_q_heads = 4;
  EXPECT_NE(refusal(other, 64).find("holds bf16 d64 2/1 heads, but bf16 d64 4/1 heads are to be tuned"),
            std::string::npos)
      << refusal(other, 64);
  write(32, 96);
  EXPECT_NE(refusal(problem_, 64).find("holds 32 queries for 96 keys"), std::string::npos);
}

class EmulatedMasks : public EmulatedInputs {
protected:
  EmulatedMasks() {
    policy_.window = 0;
    policy_.sink = 0;
  }
  // What was made, after a look at its words.
  const DeviceMask &mask(float density) {
    const Plan plan = Engine(-1, options_).prepare(problem_, policy_);
    const Input &input = inputs_.get(problem_, 512);
    const DeviceArray workspace(device_, plan.workspace_bytes(input.shape));
    const DeviceMask &made = masks_.get(plan, input, workspace, density);
    std::vector<std::uint32_t> words(made.words.bytes() / sizeof(std::uint32_t));
    made.words.download(words.data());
    EXPECT_EQ(bench::mask_density(words, problem_, policy_, input.shape), made.density);
    return made;
  }

  Policy policy_;
  Inputs inputs_{device_, {}};
  Masks masks_{device_};
};

TEST_F(EmulatedMasks, have_the_density_that_is_asked_for) {
  const double usual = mask(0).density;
  EXPECT_NEAR(mask(0.3F).density, 0.3, 0.05) << "few blocks make coarse steps";
  EXPECT_NEAR(mask(0.8F).density, 0.8, 0.05);
  EXPECT_EQ(&mask(0.3F), &mask(0.3F)) << "made once";
  EXPECT_GT(usual, 0);
  EXPECT_EQ(mask(0).density, usual);
}

TEST_F(EmulatedMasks, are_the_reference_region_where_less_is_asked_for) {
  policy_.window = 512;
  EXPECT_EQ(mask(0.05F).density, 1);
}

TEST_F(EmulatedMasks, have_a_density_whatever_the_policys_own_thresholds) {
  policy_.tau = 0;
  EXPECT_EQ(mask(0).density, 1);
  EXPECT_NEAR(mask(0.5F).density, 0.5, 0.05);
}

} // namespace
} // namespace sale::autotune
