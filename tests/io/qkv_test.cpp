// SPDX-License-Identifier: Apache-2.0
#include "io/qkv.hpp"
#include "io/safetensors.hpp"
#include "tests/io/support.hpp"

#include <map>
#include <numeric>

namespace sale::io {
namespace {

struct Given {
  std::string dtype = "BF16";
  std::vector<std::uint64_t> shape;
};

/// Writes tensors of the given shapes; element i of each is i.
std::filesystem::path write_qkv(const TemporaryFolder &folder, const std::vector<std::pair<std::string, Given>> &given,
                                const std::map<std::string, std::string> &metadata = {}) {
  std::vector<std::vector<std::uint16_t>> data;
  std::vector<TensorToWrite> tensors;
  data.reserve(given.size());
  for (const auto &[name, tensor] : given) {
    const std::uint64_t elements =
        std::accumulate(tensor.shape.begin(), tensor.shape.end(), std::uint64_t{1}, std::multiplies<>());
    data.emplace_back(elements * (tensor.dtype == "F32" ? 2 : 1));
    std::iota(data.back().begin(), data.back().end(), std::uint16_t{0});
    tensors.push_back({name, tensor.dtype, tensor.shape, std::as_bytes(std::span(data.back()))});
  }
  const auto path = folder.path() / "qkv.safetensors";
  write_safetensors(path, tensors, metadata);
  return path;
}

std::string refusal(const Given &q, const Given &k, const Given &v) {
  const TemporaryFolder folder;
  const auto path = write_qkv(folder, {{"q", q}, {"k", k}, {"v", v}});
  return message_of([&] { load_qkv(path); });
}

TEST(Qkv, problem_and_shape_follow_from_the_tensors) {
  const TemporaryFolder folder;
  const auto path =
      write_qkv(folder, {{"q", {"F16", {2, 6, 3, 64}}}, {"k", {"F16", {2, 2, 5, 64}}}, {"v", {"F16", {2, 2, 5, 64}}}});
  const Qkv qkv = load_qkv(path);
  EXPECT_EQ(qkv.problem.dtype, DType::f16);
  EXPECT_EQ(qkv.problem.num_q_heads, 6);
  EXPECT_EQ(qkv.problem.num_kv_heads, 2);
  EXPECT_EQ(qkv.problem.head_dim, 64);
  EXPECT_EQ(qkv.shape.batch, 2);
  EXPECT_EQ(qkv.shape.q_len, 3);
  EXPECT_EQ(qkv.shape.kv_len, 5);
  EXPECT_EQ(qkv.q.size(), 2U * 6 * 3 * 64);
  EXPECT_EQ(qkv.k[7], 7);
}

TEST(Qkv, values_may_have_other_channels_than_keys) {
  const TemporaryFolder folder;
  const Given k{"BF16", {1, 2, 8, 192}};
  const auto path = write_qkv(folder, {{"q", k}, {"k", k}, {"v", {"BF16", {1, 2, 8, 128}}}});
  const Qkv qkv = load_qkv(path);
  EXPECT_EQ(qkv.problem.head_dim, 192);
  EXPECT_EQ(effective_v_head_dim(qkv.problem), 128);
  EXPECT_EQ(to_tensors(qkv).v.size(), 2U * 8 * 128);
  expect_contains(refusal(k, k, {"BF16", {1, 2, 8, 64}}), "v_head_dim 64 with head_dim 192 is not supported");
}

TEST(Qkv, tensors_that_do_not_fit_together_are_refused) {
  const Given k{"BF16", {1, 2, 8, 64}};
  expect_contains(refusal({"F32", {1, 2, 8, 64}}, k, k), R"(tensor "q" is F32; supported are BF16 and F16)");
  expect_contains(refusal({"F16", {1, 2, 8, 64}}, k, k), "must have the same dtype");
  expect_contains(refusal({"BF16", {2, 8, 64}}, k, k), "it must be [batch, num_q_heads, q_len, head_dim]");
  expect_contains(refusal({"BF16", {1, 2, 0, 64}}, k, k), "every extent must be between 1");
  expect_contains(refusal({"BF16", {2, 2, 8, 64}}, k, k), "must have the same batch");
  expect_contains(refusal({"BF16", {1, 2, 8, 128}}, k, k), "must have the same head_dim");
  expect_contains(refusal({"BF16", {1, 2, 8, 64}}, k, {"BF16", {1, 2, 9, 64}}), "must have the same shape");
  expect_contains(refusal({"BF16", {1, 3, 8, 64}}, k, k), "num_q_heads 3 is not a multiple of num_kv_heads 2");
  expect_contains(refusal({"BF16", {1, 2, 9, 64}}, k, k), "q_len 9 is greater than kv_len 8");
  const Given narrow{"BF16", {1, 2, 8, 80}};
  expect_contains(refusal(narrow, narrow, narrow), "head_dim 80 is not supported");
}

TEST(Qkv, the_softmax_scale_is_the_metadatas_and_must_be_a_positive_number) {
  const TemporaryFolder folder;
  const Given tensor{"BF16", {1, 1, 1, 64}};
  const auto scale = [&](const std::map<std::string, std::string> &metadata) {
    return load_qkv(write_qkv(folder, {{"q", tensor}, {"k", tensor}, {"v", tensor}}, metadata)).problem.softmax_scale;
  };
  EXPECT_EQ(scale({}), 0.0F);
  EXPECT_EQ(scale({{"softmax_scale", "0.08838834764831843"}}), 0.08838834764831843F);
  EXPECT_EQ(scale({{"softmax_scale", "1e-2"}}), 0.01F);
  for (const char *text : {"", "wide", "0", "-0.125", "nan", "inf", "1e99", "0.125 "}) {
    expect_contains(message_of([&] { scale({{"softmax_scale", text}}); }), "must be a positive number");
  }
}

TEST(Qkv, results_are_written_with_the_documented_names_types_and_shapes) {
  const TemporaryFolder folder;
  Problem problem;
  problem.head_dim = 64;
  problem.num_q_heads = 2;
  problem.num_kv_heads = 1;
  const Shape shape{1, 70, 300};
  reference::Mask mask(shape, 2, 64, 32);
  mask.set(0, 1, 1, 9);
  const std::vector<std::uint16_t> out(std::size_t{2} * 70 * 64, 7);
  const std::vector<float> lse(std::size_t{2} * 70, 0.25F);
  const auto path = folder.path() / "out.safetensors";
  write_result(path, problem, shape, out, lse, mask);

  SafetensorsReader file(path);
  EXPECT_EQ(file.find("out").dtype, "BF16");
  EXPECT_EQ(file.find("out").shape, (std::vector<std::uint64_t>{1, 2, 70, 64}));
  EXPECT_EQ(file.find("lse").dtype, "F32");
  EXPECT_EQ(file.find("lse").shape, (std::vector<std::uint64_t>{1, 2, 70}));
  const TensorEntry &bits = file.find("mask");
  EXPECT_EQ(bits.dtype, "U8");
  EXPECT_EQ(bits.shape, (std::vector<std::uint64_t>{1, 2, 2, 2})); // ceil(10 key blocks / 8)
  std::vector<std::uint8_t> bytes(bits.bytes);
  file.read(bits, std::as_writable_bytes(std::span(bytes)));
  EXPECT_EQ(bytes, (std::vector<std::uint8_t>{0, 0, 0, 0, 0, 0, 0, 2})); // bit 9 % 8 of byte 9 / 8
}

} // namespace
} // namespace sale::io
