// SPDX-License-Identifier: Apache-2.0
// sale bench on the emulated device: what is measured and said, never how fast it is.
#include "tests/bench/well_formed.hpp"
#include "tests/cli/command_line.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace sale::cli_test {
namespace {

using Json = nlohmann::json;

class BenchCommand : public testing::Test {
protected:
  void SetUp() override {
    if (SALE_HAS_EMULATOR == 0) {
      GTEST_SKIP() << "this build has no emulator";
    }
  }
  std::string path(const std::string &name) const { return (folder_.path() / name).string(); }

  CommandResult bench(const std::vector<std::string> &more) const {
    std::vector<std::string> arguments = {"bench", "--device", "emulator", "--arch", "sm_80", "--warmup", "0"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_sale(arguments);
  }
  // Of a small problem.
  Json report(std::vector<std::string> more) const {
    more.insert(more.end(), {"--heads", "2", "--kv-heads", "1", "--head-dim", "64", "--json"});
    const CommandResult result = bench(more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return Json::parse(result.out);
  }

  TemporaryFolder folder_;
};

std::vector<std::string> names(const Json &section) {
  std::vector<std::string> result;
  for (const Json &row : section["rows"]) {
    result.push_back(row["name"]);
  }
  return result;
}

TEST_F(BenchCommand, measures_everything_once_per_round_and_says_how) {
  const Json json = report(
      {"--lengths", "256", "--rounds", "2", "--masks", "exact,random:0.9", "--tau", "0.02", "--svg", path("charts")});
  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["device"]["name"], "Emulated sm_80");
  EXPECT_EQ(json["device"]["emulated"], true);
  for (const char *key : {"arch", "driver", "cuda_version", "nvrtc", "memory_bytes", "l2_bytes"}) {
    EXPECT_TRUE(json["device"].contains(key)) << key;
  }
  EXPECT_EQ(json["method"]["rounds"], 2);
  EXPECT_EQ(json["method"]["l2"], "warm") << "the emulated device has no L2 cache to write over";
  EXPECT_NEAR(json["policy"]["tau"].get<double>(), 0.02, 1e-6);

  ASSERT_EQ(json["sections"].size(), 1U);
  const Json &section = json["sections"][0];
  EXPECT_EQ(section["input"], "structured:0.12");
  EXPECT_EQ(section["kv_len"], 256);
  EXPECT_EQ(section["num_q_heads"], 2);
  EXPECT_EQ(section["dense_flops"], 2.0 * 256 * 256 * 64 * 2);
  EXPECT_FALSE(section.contains("gpu")) << "no nvidia-smi speaks for an emulated device";
  EXPECT_EQ(names(section), (std::vector<std::string>{"dense", "sale int8", "attend exact", "attend random:0.9"}));
  for (const Json &row : section["rows"]) {
    EXPECT_EQ(row["ms"]["rounds"].size(), 2U);
    EXPECT_LE(row["ms"]["min"], row["ms"]["median"]);
    EXPECT_LE(row["ms"]["median"], row["ms"]["max"]);
    EXPECT_GT(row["density"], 0.0);
    EXPECT_LE(row["density"], 1.0);
    EXPECT_TRUE(row.contains("speedup"));
  }
  const Json &sale = section["rows"][1];
  EXPECT_LT(sale["rel_l1"], 0.2);
  for (const char *stage : {"mean", "channels", "quantize", "prepare", "select", "attend", "total"}) {
    EXPECT_TRUE(sale["stages_ms"].contains(stage)) << stage;
  }
  EXPECT_GT(sale["stages_ms"]["select"]["median"], 0.0);
  EXPECT_EQ(sale["stages_ms"]["channels"]["median"], 0.0);

  for (const char *file : {"charts/time.svg", "charts/speedup.svg", "charts/stages.svg"}) {
    EXPECT_EQ(bench_test::xml_problem(read_file(path(file))), "") << file;
  }
}

TEST_F(BenchCommand, measures_only_what_it_is_asked_for) {
  const Json dense = report({"--lengths", "64,128", "--rounds", "1", "--only", "dense"});
  ASSERT_EQ(dense["sections"].size(), 2U);
  EXPECT_EQ(names(dense["sections"][1]), (std::vector<std::string>{"dense"}));
  const Json stages = report(
      {"--lengths", "64", "--rounds", "1", "--only", "stages", "--estimators", "int8,exact", "--input", "normal"});
  EXPECT_EQ(names(stages["sections"][0]), (std::vector<std::string>{"sale int8", "sale exact"}));
  EXPECT_FALSE(stages["sections"][0]["rows"][0].contains("ms"));
  EXPECT_EQ(stages["sections"][0]["rows"][1]["stages_ms"]["quantize"]["median"], 0.0);
  EXPECT_EQ(stages["sections"][0]["input"], "normal");
}

TEST_F(BenchCommand, puts_shapes_of_serving_beside_plain_calls_of_the_same_work) {
  const Json json =
      report({"--lengths", "256", "--rounds", "1", "--serving", "chunks:128,packed:2,paged:32,coded-chunks:128"});
  const Json &section = json["sections"][0];
  EXPECT_TRUE(section["rows"].empty());
  ASSERT_EQ(section["serving"].size(), 4U);
  for (const Json &row : section["serving"]) {
    EXPECT_EQ(row["different_outputs"], 0) << row["name"];
    EXPECT_EQ(row["ms"]["rounds"].size(), 1U);
    EXPECT_EQ(row["plain_ms"]["rounds"].size(), 1U);
  }
  EXPECT_EQ(section["serving"][0]["different_mask_bits"], 0);
  EXPECT_EQ(section["serving"][3]["different_mask_bits"], 0);
}

TEST_F(BenchCommand, takes_captured_input_and_prints_tables) {
  write_input(path("captured.safetensors"), {.num_q_heads = 2, .num_kv_heads = 1, .q_len = 70, .kv_len = 200});
  const CommandResult result = bench(
      {"--qkv", path("captured.safetensors"), "--rounds", "1", "--only", "dense,sale,stages", "--json", path("json")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char *part : {"captured.safetensors", "70 of 200", "sale int8", "x dense", "stages of",
                           "times say nothing about a GPU", "medians of 1 rounds"}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << part << " is not in\n" << result.out;
  }
  const Json json = Json::parse(read_file(path("json")));
  EXPECT_EQ(json["sections"][0]["q_len"], 70);
}

TEST_F(BenchCommand, small_says_the_crossover_and_what_a_call_costs) {
  const Json json = report({"--small", "--lengths", "64,128", "--rounds", "1"});
  ASSERT_EQ(json["crossovers"].size(), 1U);
  EXPECT_EQ(json["crossovers"][0]["estimate"], "int8");
  const Json &calls = json["sections"][0]["calls"];
  ASSERT_EQ(calls.size(), 3U);
  EXPECT_EQ(calls[1]["what"], "sale, falls back to dense");
  EXPECT_GT(calls[2]["host_us"]["median"], 0.0);
  EXPECT_EQ(calls[0]["launches"], 1);
  EXPECT_EQ(calls[1]["launches"], 1);
  EXPECT_EQ(calls[2]["launches"], 6); // counters, mean, quantize, prepare, select, attend
  EXPECT_GT(calls[2]["own_us"]["median"], 0.0);
  EXPECT_FALSE(json["sections"][1].contains("calls"));
}

TEST_F(BenchCommand, paced_stops_where_its_input_does) {
  const CommandResult result =
      bench({"--paced", "--lengths", "64", "--heads", "1", "--kv-heads", "1", "--head-dim", "64", "--only", "dense"});
  EXPECT_EQ(result.exit_code, 2) << "tests run with an empty standard input";
  EXPECT_EQ(result.out, "round 64 0\n");
  EXPECT_NE(result.err.find("--paced: standard input ended"), std::string::npos) << result.err;
}

} // namespace
} // namespace sale::cli_test
