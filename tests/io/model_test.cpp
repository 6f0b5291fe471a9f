// SPDX-License-Identifier: Apache-2.0
#include "io/model.hpp"
#include "tests/io/support.hpp"

#include <cmath>

namespace sale::io {
namespace {

Model config(const std::string &text) { return parse_config_json(text, "config.json"); }
std::string config_refusal(const std::string &text) {
  return message_of([&] { config(text); });
}

TEST(Model, every_built_in_model_is_valid_and_bears_its_file_name) {
  const std::vector<std::string> names = known_models();
  EXPECT_GE(names.size(), 12U);
  for (const std::string &name : names) {
    const Model model = load_model(name);
    EXPECT_EQ(model.name, name);
    EXPECT_GT(model.layers, 0);
  }
}

TEST(Model, llama_3_1_8b_has_32_heads_over_8) {
  const Model model = load_model("llama-3.1-8b");
  EXPECT_EQ(model.problem.num_q_heads, 32);
  EXPECT_EQ(model.problem.num_kv_heads, 8);
  EXPECT_EQ(model.problem.head_dim, 128);
  EXPECT_EQ(model.problem.dtype, DType::bf16);
  EXPECT_EQ(model.layers, 32);
}

TEST(Model, deepseek_v3_has_values_of_fewer_channels_than_keys) {
  const Problem problem = load_model("deepseek-v3").problem;
  EXPECT_EQ(problem.head_dim, 192);
  EXPECT_EQ(problem.v_head_dim, 128);
}

TEST(Model, an_unknown_name_lists_the_known_ones) {
  const std::string message = message_of([] { load_model("llama-9"); });
  expect_contains(message, R"(unknown model "llama-9"; known are deepseek-v3, gemma-3-4b)");
  expect_contains(message, "tinyllama-1.1b");
}

TEST(Model, a_name_with_a_slash_or_json_ending_is_a_path) {
  expect_contains(message_of([] { load_model("./nothing"); }), "there is no such file");
  expect_contains(message_of([] { load_model("nothing.json"); }), "nothing.json: there is no such file");
}

TEST(Model, the_dtype_can_be_overridden) {
  EXPECT_EQ(load_model("llama-3.1-8b", DType::f16).problem.dtype, DType::f16);
}

TEST(ConfigJson, a_plain_decoder_works_as_it_stands) {
  const Model model = config(R"({"model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32,
      "num_key_value_heads": 8, "num_hidden_layers": 32, "torch_dtype": "bfloat16", "rope_scaling": {"factor": 8.0}})");
  EXPECT_EQ(model.name, "llama");
  EXPECT_EQ(model.layers, 32);
  EXPECT_EQ(model.problem.head_dim, 128);
  EXPECT_EQ(model.problem.num_kv_heads, 8);
  EXPECT_EQ(model.problem.softmax_scale, 0.0F);
}

TEST(ConfigJson, absent_and_null_fields_have_their_defaults) {
  const Model model = config(R"({"hidden_size": 2048, "num_attention_heads": 32, "num_key_value_heads": null,
                                 "head_dim": null, "dtype": "float16"})");
  EXPECT_EQ(model.problem.num_kv_heads, 32);
  EXPECT_EQ(model.problem.head_dim, 64);
  EXPECT_EQ(model.problem.dtype, DType::f16);
}

TEST(ConfigJson, head_dim_wins_over_hidden_size) {
  EXPECT_EQ(config(R"({"hidden_size": 1024, "num_attention_heads": 16, "head_dim": 128})").problem.head_dim, 128);
}

TEST(ConfigJson, the_language_model_of_a_multimodal_one_is_found) {
  const Model model = config(R"({"model_type": "gemma3", "torch_dtype": "bfloat16", "num_attention_heads": 99,
      "text_config": {"model_type": "gemma3_text", "hidden_size": 2560, "num_attention_heads": 8, "num_key_value_heads": 4,
      "head_dim": 256, "num_hidden_layers": 34, "query_pre_attn_scalar": 168, "attn_logit_softcapping": null}})");
  EXPECT_EQ(model.name, "gemma3_text");
  EXPECT_EQ(model.problem.num_q_heads, 8);
  EXPECT_EQ(model.problem.head_dim, 256);
  EXPECT_EQ(model.problem.dtype, DType::bf16);
  EXPECT_FLOAT_EQ(model.problem.softmax_scale, 1.0F / std::sqrt(168.0F));
}

TEST(ConfigJson, what_libsale_cannot_run_is_refused) {
  expect_contains(config_refusal("{"), "config.json: this is not valid JSON at its byte 2");
  expect_contains(config_refusal("[]"), "a config.json is a JSON object");
  expect_contains(config_refusal("{}"), R"("num_attention_heads" is missing)");
  expect_contains(config_refusal(R"({"num_attention_heads": 8})"), R"("hidden_size" is missing)");
  expect_contains(config_refusal(R"({"num_attention_heads": "8"})"), "must be a whole number between 1");
  expect_contains(config_refusal(R"({"num_attention_heads": -8})"), "must be a whole number between 1");
  expect_contains(config_refusal(R"({"num_attention_heads": 0})"), "must be a whole number between 1");
  expect_contains(config_refusal(R"({"num_attention_heads": 3, "hidden_size": 1024})"), "is not a multiple of");
  expect_contains(config_refusal(R"({"num_attention_heads": 32, "hidden_size": 2560})"),
                  "head_dim 80 is not supported");
  expect_contains(config_refusal(R"({"num_attention_heads": 32, "num_key_value_heads": 5, "head_dim": 64})"),
                  "num_q_heads 32 is not a multiple of num_kv_heads 5");
  expect_contains(config_refusal(R"({"num_attention_heads": 32, "head_dim": 64, "torch_dtype": "float32"})"),
                  "choose with --dtype");
  expect_contains(config_refusal(R"({"num_attention_heads": 32, "head_dim": 64, "kv_lora_rank": 512})"),
                  R"(models with "kv_lora_rank" are not supported)");
  expect_contains(config_refusal(R"({"num_attention_heads": 8, "head_dim": 256, "attn_logit_softcapping": -5})"),
                  "must be a positive number");
  expect_contains(config_refusal(R"({"num_attention_heads": 8, "head_dim": 64, "query_pre_attn_scalar": 0})"),
                  "must be a positive number");
  expect_contains(config_refusal(R"({"num_attention_heads": 1e999})"), "number that is out of range");
}

TEST(ConfigJson, deep_nesting_is_refused_before_it_can_overflow_the_stack) {
  const auto nested = [](std::size_t depth) {
    return R"({"num_attention_heads": 32, "head_dim": 64, "text_config": {}, "a": )" + std::string(depth, '[') +
           std::string(depth, ']') + "}";
  };
  EXPECT_EQ(config(nested(31)).problem.num_q_heads, 32);
  expect_contains(config_refusal(nested(32)), "nests more than 32 levels deep");
  expect_contains(config_refusal(nested(1'000'000)), "nests more than 32 levels deep");
}

TEST(ConfigJson, the_softcap_of_gemma_2_is_read) {
  EXPECT_EQ(config(R"({"num_attention_heads": 8, "head_dim": 256, "attn_logit_softcapping": 50.0})").problem.softcap,
            50.0F);
}

TEST(Model, a_folder_is_its_config_json) {
  const TemporaryFolder folder;
  write_file(folder, "config.json", R"({"model_type": "llama", "num_attention_heads": 32, "head_dim": 64})");
  EXPECT_EQ(load_model(folder.path().string()).problem.num_q_heads, 32);
  EXPECT_EQ(load_model(folder.path().string() + "/").name, "llama");
}

TEST(ProblemFile, a_yaml_file_gives_every_field) {
  const TemporaryFolder folder;
  const auto path = write_file(folder, "p.yaml",
                               "dtype: f16\nhead_dim: 96\nnum_q_heads: 14\nnum_kv_heads: 2\nsoftmax_scale: 0.125\n"
                               "sliding_window: 512\nsoftcap: 30\nsink_logits: true\n");
  const Model model = load_problem(path);
  EXPECT_EQ(model.problem.dtype, DType::f16);
  EXPECT_EQ(model.problem.head_dim, 96);
  EXPECT_EQ(model.problem.num_q_heads, 14);
  EXPECT_EQ(model.problem.num_kv_heads, 2);
  EXPECT_EQ(model.problem.softmax_scale, 0.125F);
  EXPECT_EQ(model.problem.sliding_window, 512);
  EXPECT_EQ(model.problem.softcap, 30.0F);
  EXPECT_TRUE(model.problem.sink_logits);
  EXPECT_TRUE(model.problem.causal);
}

TEST(ProblemFile, mistakes_are_refused) {
  const TemporaryFolder folder;
  const auto refusal = [&](const std::string &text) {
    const auto path = write_file(folder, "p.yaml", text);
    return message_of([&] { load_problem(path); });
  };
  const std::string heads = "num_q_heads: 4\nnum_kv_heads: 4\n";
  expect_contains(refusal(heads + "head_dim: 64\n"), R"(the key "dtype" is missing)");
  expect_contains(refusal(heads + "head_dim: 64\ndtype: f32\n"), R"(unknown dtype "f32")");
  expect_contains(refusal(heads + "head_dim: 80\ndtype: bf16\n"), "head_dim 80 is not supported");
  expect_contains(refusal(heads + "head_dim: 64\ndtype: bf16\nheads: 4\n"), R"(p.yaml:5: unknown key "heads")");
  expect_contains(refusal(heads + "head_dim: 64\ndtype: bf16\ncausal: perhaps\n"), "causal must be true or false");
  expect_contains(refusal(heads + "head_dim: 64\ndtype: bf16\ncausal: false\nsliding_window: 9\n"),
                  "sliding_window 9 needs causal attention");
}

} // namespace
} // namespace sale::io
