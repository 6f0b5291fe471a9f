// SPDX-License-Identifier: Apache-2.0
#include "io/policy_file.hpp"
#include "tests/io/support.hpp"

#include <cmath>
#include <numeric>

namespace sale::io {
namespace {

constexpr const char *good = R"(schema: 1
model: test
policy: {estimator: int4, block_q: 128, block_k: 64, sink: 0, window: 256}
tau:
  - [0.001, 0.002]
  - [0, 0.5]
shift:
  - [0, 0]
  - [0.25, -0.5]
)";

std::string refusal(const std::string &text) {
  const TemporaryFolder folder;
  const auto path = write_file(folder, "policy.yaml", text);
  return message_of([&] { load_policy_file(path); });
}

Problem two_heads() {
  Problem problem;
  problem.num_q_heads = 2;
  problem.num_kv_heads = 1;
  return problem;
}

TEST(PolicyFile, a_layer_gives_policy_thresholds_and_shifts) {
  const TemporaryFolder folder;
  const PolicyFile file = load_policy_file(write_file(folder, "policy.yaml", good));
  EXPECT_EQ(file.model, "test");
  const Policy policy = layer_policy(file, 1, two_heads());
  EXPECT_EQ(policy.estimator, Estimator::int4);
  EXPECT_EQ(policy.block_q, 128);
  EXPECT_EQ(policy.block_k, 64);
  EXPECT_EQ(policy.sink, 0);
  EXPECT_EQ(policy.window, 256);
  EXPECT_EQ(policy.tau_per_head, (std::vector<float>{0.0F, 0.5F}));
  EXPECT_EQ(policy.shift_per_head, (std::vector<float>{0.25F, -0.5F}));
}

PolicyFile projected_file() {
  PolicyFile file;
  file.policy.estimator = Estimator::fp8;
  file.policy.estimate_dim = 32;
  file.layers = {3, 7};
  file.tau = {{0.1F, 0.2F}, {0.3F, 0.4F}};
  file.tensors = "policy.safetensors";
  for (const float first : {1.0F, 2.0F}) {
    LayerProjection projection{1, 32, 128, std::vector<float>(std::size_t{2} * 32 * 128)};
    for (std::size_t i = 0; i < projection.values.size(); ++i) {
      projection.values[i] = first + static_cast<float>(i) / 1024;
    }
    file.arrays.projection.push_back(projection);
  }
  return file;
}

TEST(PolicyFile, layers_that_are_added_come_back) {
  const TemporaryFolder folder;
  const auto comes_back = [&](const Policy &policy) {
    PolicyFile file;
    file.policy = policy;
    add_layer(file, 3, policy, 2, 128);
    if (!file.arrays.empty()) {
      file.tensors = "policy.safetensors";
      write_policy_tensors(folder.path() / file.tensors, file.layers, file.arrays);
    }
    const PolicyFile loaded = load_policy_file(write_file(folder, "policy.yaml", policy_file_text(file, "")));
    const Policy read = layer_policy(loaded, 3, two_heads());
    EXPECT_EQ(read.tau_per_head, policy.tau_per_head.empty() ? std::vector<float>(2, policy.tau) : policy.tau_per_head);
    EXPECT_EQ(read.shift_per_head, policy.shift_per_head);
    EXPECT_EQ(read.channels, policy.channels);
    EXPECT_EQ(read.projection, policy.projection);
    EXPECT_EQ(read.kbar, policy.kbar);
    EXPECT_EQ(read.block_q, policy.block_q);
  };
  Policy policy;
  policy.block_q = 128;
  policy.tau = 0.25F;
  comes_back(policy);
  policy.estimator = Estimator::fp8;
  policy.estimate_dim = 32;
  policy.tau_per_head = {0.5F, 0.125F};
  policy.shift_per_head = {1, 2};
  policy.channels.resize(32);
  std::iota(policy.channels.begin(), policy.channels.end(), 7);
  comes_back(policy);
  policy.channels.clear();
  policy.projection.resize(std::size_t{2} * 32 * 128, 0.75F);
  comes_back(policy);
  policy.kbar.resize(128, -0.25F);
  comes_back(policy);
  policy.projection.clear();
  comes_back(policy);
}

TEST(PolicyFile, projections_come_back_from_the_file_beside_it) {
  const TemporaryFolder folder;
  const PolicyFile file = projected_file();
  const auto path = write_file(folder, "policy.yaml", policy_file_text(file, "projected"));
  write_policy_tensors(folder.path() / "policy.safetensors", file.layers, file.arrays);
  const PolicyFile loaded = load_policy_file(path);
  EXPECT_EQ(loaded.tensors, "policy.safetensors");
  EXPECT_EQ(loaded.arrays.projection, file.arrays.projection);
  const Policy policy = layer_policy(loaded, 7, two_heads());
  EXPECT_EQ(policy.projection, file.arrays.projection[1].values);
  validate(policy, two_heads());
  Problem other = two_heads();
  other.head_dim = 64;
  expect_contains(message_of([&] { layer_policy(loaded, 7, other); }), "the projection is of 1 KV heads");
}

TEST(PolicyFile, projections_that_do_not_fit_are_refused_with_the_file_and_what_would_be_right) {
  const TemporaryFolder folder;
  PolicyFile file = projected_file();
  const auto path = write_file(folder, "policy.yaml", policy_file_text(file, ""));
  const auto tensors = folder.path() / "policy.safetensors";
  const auto refused = [&] { return message_of([&] { load_policy_file(path); }); };
  expect_contains(refused(), "policy.safetensors");
  const std::vector<LayerProjection> whole = file.arrays.projection;
  write_policy_tensors(tensors, {3}, {{whole[0]}, {}});
  expect_contains(refused(), "projection.7");
  write_policy_tensors(tensors, {3, 7, 8}, {{whole[0], whole[1], whole[0]}, {}});
  expect_contains(refused(), "tensor projection.8 is not known");
  file.arrays.projection[1].values[9] = NAN;
  write_policy_tensors(tensors, file.layers, file.arrays);
  expect_contains(refused(), "finite");
  const LayerKbar kbar{1, 128, std::vector<float>(128, 0.5F)};
  write_policy_tensors(tensors, {3, 7}, {whole, {kbar}});
  expect_contains(refused(), "kbar.7");
  write_policy_tensors(tensors, {3, 7}, {{}, {kbar, {2, 128, std::vector<float>(256)}}});
  const PolicyFile of_kbar = load_policy_file(path);
  EXPECT_EQ(layer_policy(of_kbar, 3, two_heads()).kbar, kbar.values);
  expect_contains(message_of([&] { layer_policy(of_kbar, 7, two_heads()); }),
                  "kbar is of 2 KV heads of 128 channels; the input has 1 of 128");
  write_policy_tensors(tensors, {3, 7}, {});
  expect_contains(refused(), "has no tensor");
  for (const char *name : {"../policy.safetensors", "/tmp/x", "..", "''"}) {
    expect_contains(refusal(std::string("schema: 1\ntau: [[0.1, 0.2]]\ntensors: ") + name + "\n"),
                    "the name of a file in the folder");
  }
}

TEST(PolicyFile, one_layer_needs_no_layer_number_and_no_policy) {
  const TemporaryFolder folder;
  const PolicyFile file = load_policy_file(write_file(folder, "policy.yaml", "schema: 1\ntau: [[0.1, 0.2]]\n"));
  const Policy policy = layer_policy(file, std::nullopt, two_heads());
  EXPECT_EQ(policy.tau_per_head, (std::vector<float>{0.1F, 0.2F}));
  EXPECT_TRUE(policy.shift_per_head.empty());
  EXPECT_EQ(policy.block_k, Policy().block_k);
}

TEST(PolicyFile, a_layer_or_head_count_that_does_not_fit_is_refused) {
  const TemporaryFolder folder;
  const PolicyFile file = load_policy_file(write_file(folder, "policy.yaml", good));
  expect_contains(message_of([&] { layer_policy(file, std::nullopt, two_heads()); }), "say which one with --layer");
  expect_contains(message_of([&] { layer_policy(file, 2, two_heads()); }), "the file has the layers 0, 1");
  expect_contains(message_of([&] { layer_policy(file, -1, two_heads()); }), "there is no layer -1");
  expect_contains(message_of([&] { layer_policy(file, 0, Problem()); }), "for 2 query heads, but the input has 32");
}

TEST(PolicyFile, mistakes_are_refused_with_their_line) {
  expect_contains(refusal("schema: 2\ntau: [[1]]\n"), "policy.yaml:1: schema 2 is not known");
  expect_contains(refusal("tau: [[1]]\n"), R"(the key "schema" is missing)");
  expect_contains(refusal("schema: 1\n"), R"(the key "tau" is missing)");
  expect_contains(refusal("schema: 1\ntua: [[1]]\n"), R"(policy.yaml:2: unknown key "tua"; known are)");
  expect_contains(refusal("schema: 1\ntau: [[1]]\ntau: [[1]]\n"), R"("tau" is given twice)");
  expect_contains(refusal("schema: 1\ntau: 0.004\n"), "policy.yaml:2: tau must be a list");
  expect_contains(refusal("schema: 1\ntau: [0.004]\n"), "tau[0] must be a list");
  expect_contains(refusal("schema: 1\ntau:\n- [0.1, x]\n"), "policy.yaml:3: tau[0][1] must be a number");
  expect_contains(refusal("schema: 1\ntau:\n- [0.1]\n- [.nan]\n"), "policy.yaml:4: tau[1][0] is nan");
  expect_contains(refusal("schema: 1\ntau: [[-1]]\n"), "must be a finite number >= 0");
  expect_contains(refusal("schema: 1\ntau:\n- [1, 2]\n- [1]\n"), "policy.yaml:4: tau[1] has 1 heads, but tau[0] has 2");
  expect_contains(refusal("schema: 1\ntau: [[1]]\nshift: [[.inf]]\n"), "shift[0][0] is inf");
  expect_contains(refusal("schema: 1\ntau: [[1]]\nshift: [[1], [1]]\n"), "shift has 2 layers of 1 heads");
  expect_contains(refusal("schema: 1\npolicy: {estimator: int2}\ntau: [[1]]\n"), "unknown estimator \"int2\"");
  expect_contains(refusal("schema: 1\npolicy:\n  sink: many\ntau: [[1]]\n"),
                  "policy.yaml:3: sink must be a whole number");
  expect_contains(refusal("schema: [1\n"), "not valid YAML");
  expect_contains(refusal("- 1\n"), "expected a map with the keys schema");
}

constexpr const char *calibrated = R"(schema: 1
policy: {estimator: fp8, estimate_dim: 2, prune_queries: true, fp8_attend: true, second_filter: true, dense_below: 512}
layers: [3, 7]
tau: [[0.1, 0.2], [0.3, 0.4]]
channels: [[[0, 5]], [[1, 2]]]
)";

TEST(PolicyFile, layers_are_found_by_number_and_bring_their_channels) {
  const TemporaryFolder folder;
  const PolicyFile file = load_policy_file(write_file(folder, "policy.yaml", calibrated));
  const Policy policy = layer_policy(file, 7, two_heads());
  EXPECT_EQ(policy.estimator, Estimator::fp8);
  EXPECT_EQ(policy.estimate_dim, 2);
  EXPECT_TRUE(policy.prune_queries);
  EXPECT_TRUE(policy.fp8_attend);
  EXPECT_TRUE(policy.second_filter);
  EXPECT_EQ(policy.dense_below, 512);
  EXPECT_EQ(policy.tau_per_head, (std::vector<float>{0.3F, 0.4F}));
  EXPECT_EQ(policy.channels, (std::vector<int>{1, 2}));
  expect_contains(message_of([&] { layer_policy(file, 1, two_heads()); }), "the file has the layers 3, 7");
}

TEST(PolicyFile, what_is_written_is_what_is_read) {
  PolicyFile file;
  file.model = "a model: #1";
  file.policy.estimator = Estimator::fp8;
  file.policy.estimate_dim = 32;
  file.policy.block_k = 64;
  file.policy.second_filter = true;
  file.layers = {4, 2};
  file.tau = {{0.004F, 0.0F}, {1e-7F, 123456.0F}};
  file.shift = {{-0.25F, 0.001F}, {22.628F, 1.0F / 3.0F}};
  file.channels = {{{0, 3}, {1, 2}}, {{5, 6}, {7, 127}}};
  const TemporaryFolder folder;
  const PolicyFile read =
      load_policy_file(write_file(folder, "policy.yaml", policy_file_text(file, "how it was made\nand judged: {}")));
  EXPECT_EQ(read.model, file.model);
  EXPECT_EQ(read.policy.estimator, file.policy.estimator);
  EXPECT_EQ(read.policy.estimate_dim, file.policy.estimate_dim);
  EXPECT_EQ(read.policy.block_k, file.policy.block_k);
  EXPECT_EQ(read.policy.second_filter, file.policy.second_filter);
  EXPECT_EQ(read.layers, file.layers);
  EXPECT_EQ(read.tau, file.tau);
  EXPECT_EQ(read.shift, file.shift);
  EXPECT_EQ(read.channels, file.channels);
}

TEST(PolicyFile, layers_and_channels_that_do_not_fit_are_refused) {
  expect_contains(refusal("schema: 1\nlayers: [0]\ntau: [[1], [1]]\n"), "layers has 1 entries, but tau has 2");
  expect_contains(refusal("schema: 1\ntau: [[1]]\nchannels: [[[1]], [[1]]]\n"), "channels has 2 layers, but tau has 1");
  expect_contains(refusal("schema: 1\ntau: [[1]]\nchannels: [[[x]]]\n"), "channels[0][0][0] must be a whole number");
  expect_contains(refusal("schema: 1\ntau: [[1]]\nchannels: [[1]]\n"), "channels[0][0] must be a list");
}

TEST(PolicyFile, nesting_thousands_deep_is_refused) {
  expect_contains(refusal("schema: 1\ntau: " + std::string(100000, '[')), "nests more than 16 levels deep");
}

} // namespace
} // namespace sale::io
