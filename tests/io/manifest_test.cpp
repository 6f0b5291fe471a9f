// SPDX-License-Identifier: Apache-2.0
#include "io/manifest.hpp"
#include "tests/io/support.hpp"

#include <gtest/gtest.h>

namespace sale::io {
namespace {

const std::string key(64, 'a');

std::string kernels(const std::string &lines = {}) {
  return "kernels:\n  - {name: \"attend sm_90a\", arch: sm_90a, key: " + key + "}\n" + lines;
}

std::string needs(const std::string &problem = "dtype: bf16, head_dim: 128, gqa: 4",
                  const std::string &policy = "estimator: int8", const std::string &serving = "plain") {
  return "needs:\n  - name: some-model\n    problem: {" + problem + "}\n    policy: {" + policy +
         "}\n    serving: " + serving + "\n";
}

std::string manifest(const std::string &needs_text = needs(), const std::string &kernels_text = kernels()) {
  return "schema: 1\nlibrary: 0.1.0\narchs: [sm_80, sm_90a]\n" + needs_text + kernels_text;
}

void expect_refused(const std::string &text, const std::string &sentence) {
  const std::string message = message_of([&] { parse_manifest(text, "m.yaml"); });
  expect_contains(message, sentence);
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_LT(message.size(), 2000U);
}

TEST(Manifest, what_is_left_out_is_as_in_a_problem_and_policy_of_the_library) {
  const Manifest read = parse_manifest(manifest(), "m.yaml");
  EXPECT_EQ(read.file_name, "m.yaml");
  EXPECT_EQ(read.library, "0.1.0");
  EXPECT_EQ(read.archs, (std::vector<std::string>{"sm_80", "sm_90a"}));
  ASSERT_EQ(read.needs.size(), 1U);
  const auto &[name, need] = read.needs.front();
  EXPECT_EQ(name, "some-model");
  EXPECT_EQ(need.problem.num_q_heads, 4);
  EXPECT_EQ(need.problem.num_kv_heads, 1);
  EXPECT_TRUE(need.problem.causal);
  EXPECT_EQ(need.policy.block_q, Policy().block_q);
  ASSERT_EQ(read.kernels.size(), 1U);
  EXPECT_EQ(read.kernels.front().key, key);
  EXPECT_EQ(read.kernels.front().line, 10);
}

TEST(Manifest, what_is_written_is_read_again) {
  Problem problem;
  problem.dtype = DType::f16;
  problem.head_dim = 192;
  problem.v_head_dim = 128;
  problem.num_q_heads = 24;
  problem.num_kv_heads = 8;
  problem.sliding_window = 77;
  problem.softcap = 30.1F;
  problem.sink_logits = true;
  Policy policy;
  policy.estimator = Estimator::fp8;
  policy.estimate_dim = 64;
  policy.block_q = 128;
  policy.block_k = 64;
  policy.second_filter = true;
  Manifest written;
  written.library = "1.2.3";
  written.archs = {"sm_90a"};
  const Serving coded = {.page_size = 64, .code_cache = true, .parts = true};
  written.needs.push_back(
      {"a: \"b\" # \x01\x1b\x7f\xc2\x9b\xc3\xa9\n", smallest_need(problem, policy, coded, {.channels = true})});
  written.needs.push_back({"c", smallest_need({}, policy, {}, {.projection = true})});
  written.kernels.push_back({"attend: {}", "sm_90a", key});
  const std::string text = manifest_text(written);

  const Manifest read = parse_manifest(text, "");
  EXPECT_EQ(manifest_text(read), text);
  ASSERT_EQ(read.needs.size(), 2U);
  EXPECT_EQ(read.needs[0].name, written.needs[0].name);
  const Need &need = read.needs[0].need;
  EXPECT_EQ(need.problem.num_q_heads, 3);
  EXPECT_EQ(need.problem.v_head_dim, 128);
  EXPECT_EQ(need.problem.softcap, 30.1F);
  EXPECT_EQ(need.policy.channels.size(), 64U);
  EXPECT_TRUE(need.policy.projection.empty());
  EXPECT_TRUE(need.serving.code_cache && need.serving.parts);
  EXPECT_EQ(read.needs[1].need.policy.projection.size(), 2U * 64 * 128);
}

TEST(Manifest, a_wrong_one_is_refused_with_its_line_and_a_sentence) {
  expect_refused("", "m.yaml:1: expected a map with the keys schema, library, archs, needs, kernels");
  expect_refused("[1, 2]", "m.yaml:1: expected a map");
  expect_refused("schema: 1\n", "the key \"library\" is missing");
  expect_refused("schema: 9\nlibrary: 1\narchs: [a]\nneeds: []\nkernels: []\n", "m.yaml:1: schema 9 is not known");
  expect_refused(manifest() + "tunings: 1\n", "m.yaml:11: unknown key \"tunings\"");
  expect_refused(manifest() + "schema: 1\n", "m.yaml:11: \"schema\" is given twice");
  expect_refused(manifest(needs("dtype: bf17, head_dim: 128, gqa: 4")), "m.yaml:6: unknown dtype \"bf17\"");
  expect_refused(manifest(needs("dtype: bf16, head_dim: 80, gqa: 4")), "m.yaml:6: head_dim 80 is not supported");
  expect_refused(manifest(needs("dtype: bf16, head_dim: 128, gqa: 99999")), "num_q_heads 99999 is above");
  expect_refused(manifest(needs("dtype: bf16, head_dim: 128, gqa: 4, softcap: .nan")), "m.yaml:6: softcap nan");
  expect_refused(manifest(needs("dtype: bf16, head_dim: 128, gqa: 1", "estimator: fp8, estimate_dim: 2147483647")),
                 "m.yaml:7: estimate_dim 2147483647 is not supported");
  expect_refused(manifest(needs("dtype: bf16, head_dim: 128, gqa: 1",
                                "estimator: fp8, estimate_dim: -32, fixed_channels: true, projection: true")),
                 "m.yaml:7: estimate_dim -32 is not supported");
  expect_refused(manifest(needs("dtype: bf16, head_dim: 128, gqa: 1", "estimator: int8", "paged:17")),
                 "m.yaml:8: page_size 17 must be a multiple of 16");
  expect_refused(manifest(needs(), kernels("  - {name: a, arch: sm_86, key: " + std::string(64, 'b') + "}\n")),
                 "m.yaml:11: sm_86 is not among archs");
  expect_refused(manifest(needs(), kernels("  - {name: a, arch: sm_80, key: ../../etc/passwd}\n")),
                 "\"../../etc/passwd\" is not a key");
  expect_refused(manifest(needs(), kernels("  - {name: a, arch: sm_80, key: " + key + "}\n")), "is there twice");
  expect_refused(manifest(needs(), "kernels: []\n"), "kernels must be a list that is not empty");
}

TEST(Manifest, hostile_yaml_is_refused_before_it_grows) {
  std::string bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n";
  for (char letter = 'b'; letter < 'k'; ++letter) {
    const char before = static_cast<char>(letter - 1);
    bomb += std::string(1, letter) + ": &" + letter + " [*" + before + ",*" + before + ",*" + before + "]\n";
  }
  expect_refused(bomb, "m.yaml:1: anchors and aliases (& and *) are not supported");
  expect_refused("a: *b\n", "m.yaml:1: ");
  expect_refused(std::string(100'000, '['), "m.yaml:1: this YAML nests more than 8 levels deep");
  expect_refused(std::string(100'000, '{'), "this YAML nests more than 8 levels deep");
  std::string dashes = "\n";
  for (int i = 0; i < 10'000; ++i) {
    dashes += "- ";
  }
  expect_refused(dashes, "m.yaml:2: this YAML nests more than 8 levels deep");
  expect_refused("schema: " + std::string(70'000, 'x'), "m.yaml:1: 70000 bytes are too many for one value");
  std::string many = "archs: [a";
  for (int i = 0; i < 270'000; ++i) {
    many += ",a";
  }
  expect_refused(many + "]", "this YAML has more than 262144 values");
  expect_refused(std::string((8U << 20U) + 1, ' '), "m.yaml: the file has 8388609 bytes; a manifest has at most");
  expect_refused("a: [", "this is not valid YAML");
  expect_refused("a: \"\\\n\"\nb: \"\\\x01\"", "m.yaml:3: this is not UTF-8 text");
  expect_refused("\xff\xfe\x00\x00: [", "m.yaml:");
  for (const char *bytes : {"\xff", "\x80", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xef\xbf\xbf",
                            "\xf4\x90\x80\x80", "\xc2\x9b", "\xc3", "\x1b"}) {
    expect_refused(std::string("schema: 1\nlibrary: a") + bytes, "m.yaml:2: this is not UTF-8 text without control");
  }
  expect_refused("schema: \"\\uffff\"", "m.yaml:1: an escape of this value stands for no character");
  expect_refused("schema: \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "m.yaml:1: ");
  expect_refused("? {a: b}\n: c\n", "m.yaml:");
}

TEST(Manifest, more_entries_than_any_needs_are_refused) {
  std::string archs = "archs: [";
  for (int i = 0; i < 33; ++i) {
    archs += "sm_80, ";
  }
  expect_refused("schema: 1\nlibrary: 1\n" + archs + "]\n" + needs() + kernels(), "m.yaml:3: 33 archs are too many");
}

TEST(Manifest, of_a_file_that_is_none_says_so) {
  expect_contains(message_of([] { load_manifest("/nonexistent.yaml"); }), "there is no such file");
}

} // namespace
} // namespace sale::io
