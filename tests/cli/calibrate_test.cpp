// SPDX-License-Identifier: Apache-2.0
// sale calibrate as a user runs it, and its policy file in sale run.
#include "tests/cli/command_line.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace sale::cli_test {
namespace {

using Json = nlohmann::json;

class Calibrate : public ::testing::Test {
protected:
  std::string path(const std::string &name) const { return (folder_.path() / name).string(); }
  void write(const std::string &name, const std::map<std::string, std::string> &metadata = {}) const {
    Input input;
    input.metadata = metadata;
    write_input(path(name), input);
  }

  TemporaryFolder folder_;
};

TEST_F(Calibrate, a_policy_file_makes_sale_run_keep_what_was_promised) {
  ASSERT_EQ(
      run_sale({"synth", "--length", "1024", "--heads", "4", "--kv-heads", "2", "--head-dim", "64", "-o", path("qkv")})
          .exit_code,
      0);
  const CommandResult made = run_sale({"calibrate", path("qkv"), "--judge", path("qkv"), "-o", path("p.yaml"),
                                       "--estimator", "fp8", "--estimate-dim", "32"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_EQ(made.out.find("with shift 1.0000"), std::string::npos) << "nothing to find in this input: " << made.out;
  EXPECT_NE(made.out.find("4 of 4 heads with something to find reach 0.99"), std::string::npos) << made.out;

  const CommandResult used = run_sale(
      {"run", "--qkv", path("qkv"), "--device", "cpu", "--policy-file", path("p.yaml"), "--compare", "--json"});
  ASSERT_EQ(used.exit_code, 0) << used.err;
  const Json report = Json::parse(used.out);
  EXPECT_EQ(report["estimator"], "fp8");
  EXPECT_EQ(report["policy"]["shift"].size(), 4U);
  for (const Json &hit : report["quality"]["hit_mass"]) {
    EXPECT_GE(hit.get<double>(), 0.99);
  }
}

TEST_F(Calibrate, the_metadata_says_which_layer_a_file_is_of) {
  write("a", {{"layer", "5"}, {"model", "tiny"}});
  write("b", {{"layer", "2"}});
  const CommandResult made = run_sale({"calibrate", path("a"), path("b"), path("a"), "-o", path("p.yaml"), "--json"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_EQ(Json::parse(made.out)["layers"].size(), 2U);
  const std::string text = read_file(path("p.yaml"));
  EXPECT_NE(text.find("layers: [2, 5]"), std::string::npos) << text;
  EXPECT_EQ(run_sale({"run", "--qkv", path("a"), "--device", "cpu", "--policy-file", path("p.yaml"), "--layer", "5"})
                .exit_code,
            0);
}

TEST_F(Calibrate, files_that_say_no_layer_are_layers_in_the_order_given) {
  write("a");
  write("b");
  ASSERT_EQ(run_sale({"calibrate", path("a"), path("b"), "-o", path("p.yaml")}).exit_code, 0);
  EXPECT_NE(read_file(path("p.yaml")).find("layers: [0, 1]"), std::string::npos);
}

TEST_F(Calibrate, thresholds_within_a_bound_hold_in_sale_run) {
  const std::vector<std::string> size = {"--length", "1024", "--heads", "4", "--kv-heads", "2", "--head-dim", "64"};
  std::vector<std::string> synth = {"synth", "-o", path("qkv")};
  synth.insert(synth.end(), size.begin(), size.end());
  ASSERT_EQ(run_sale(synth).exit_code, 0);
  const CommandResult made =
      run_sale({"calibrate", path("qkv"), "--judge", path("qkv"), "-o", path("p.yaml"), "--relative-bound", "0.004",
                "--lengths", "512,768", "--largest-tau", "0.5", "--json", path("report.json")});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_NE(made.out.find("0 of 12 (head, sequence) pairs are above rel-L1 <= 0.004"), std::string::npos) << made.out;
  const Json report = Json::parse(read_file(path("report.json")));
  EXPECT_EQ(report["bound"], Json({{"rel_l1", 0.004}}));
  const CommandResult used = run_sale(
      {"run", "--qkv", path("qkv"), "--device", "cpu", "--policy-file", path("p.yaml"), "--compare", "--json"});
  ASSERT_EQ(used.exit_code, 0) << used.err;
  const Json run = Json::parse(used.out);
  EXPECT_LE(run["quality"]["rel_l1"].get<double>(), 0.005) << "16-bit outputs round";
  EXPECT_LT(run["density"]["total"].get<double>(), 1.0) << used.out;
  bool different = false;
  for (int h = 0; h < 4; ++h) {
    const Json &head = report["layers"][0]["heads"][h];
    ASSERT_EQ(head["sequences"].size(), 3U);
    EXPECT_EQ(head["sequences"][0]["length"], 512);
    EXPECT_EQ(head["violations"], 0);
    EXPECT_LE(head["sequences"][2]["rel_l1"].get<double>(), 0.004);
    EXPECT_NEAR(head["sequences"][2]["density"].get<double>(), run["density"]["per_head"][h].get<double>(), 1e-6);
    different = different || head["tau"] != report["layers"][0]["heads"][0]["tau"];
  }
  EXPECT_TRUE(different) << made.out;
  EXPECT_EQ(read_file(path("p.yaml")).find("shift:"), std::string::npos);
}

TEST_F(Calibrate, a_projection_is_a_file_beside_the_policy_and_sale_run_uses_it) {
  for (const char *seed : {"1", "2"}) {
    ASSERT_EQ(run_sale({"synth", "--length", "1024", "--heads", "4", "--kv-heads", "2", "--head-dim", "64", "--seed",
                        seed, "-o", path(seed)})
                  .exit_code,
              0);
  }
  const std::vector<std::string> half = {"calibrate",      path("1"), path("2"), "--estimator", "fp8",
                                         "--estimate-dim", "32",      "-o",      path("p.yaml")};
  std::vector<std::string> projected = half;
  projected.emplace_back("--projection");
  const auto run_layer = [&](const std::string &layer) {
    const CommandResult used = run_sale({"run", "--qkv", path("1"), "--device", "cpu", "--policy-file", path("p.yaml"),
                                         "--layer", layer, "--compare", "--json"});
    EXPECT_EQ(used.exit_code, 0) << used.err;
    return Json::parse(used.out);
  };
  ASSERT_EQ(run_sale(half).exit_code, 0);
  const Json channels = run_layer("0");
  const CommandResult made = run_sale(projected);
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const std::string text = read_file(path("p.yaml"));
  EXPECT_NE(text.find("tensors: p.safetensors"), std::string::npos) << text;
  EXPECT_EQ(text.find("channels:"), std::string::npos) << text;
  EXPECT_NE(read_file(path("p.safetensors")).find("projection.1"), std::string::npos);
  const Json first = run_layer("0");
  EXPECT_NE(first["quality"], channels["quality"]) << "the projection was not used";
  EXPECT_NE(first["quality"], run_layer("1")["quality"]) << "each layer has its own";

  std::filesystem::remove(path("p.safetensors"));
  const CommandResult missing =
      run_sale({"run", "--qkv", path("1"), "--device", "cpu", "--policy-file", path("p.yaml"), "--layer", "0"});
  EXPECT_NE(missing.exit_code, 0);
  EXPECT_NE(missing.err.find("p.safetensors"), std::string::npos) << missing.err;
}

TEST_F(Calibrate, a_constant_kbar_is_a_file_beside_the_policy_and_sale_run_uses_it) {
  for (const char *seed : {"1", "2"}) {
    ASSERT_EQ(run_sale({"synth", "--length", "1024", "--heads", "2", "--kv-heads", "1", "--head-dim", "64", "--seed",
                        seed, "-o", path(seed)})
                  .exit_code,
              0);
  }
  const CommandResult made =
      run_sale({"calibrate", path("1"), "--judge", path("2"), "--estimator", "int4", "--kbar", "-o", path("p.yaml")});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_NE(read_file(path("p.safetensors")).find("kbar.0"), std::string::npos);
  const auto mask_of = [&](const std::vector<std::string> &policy) {
    std::vector<std::string> words = {"run", "--qkv", path("2"), "--device", "cpu", "--json"};
    words.insert(words.end(), policy.begin(), policy.end());
    const CommandResult used = run_sale(words);
    EXPECT_EQ(used.exit_code, 0) << used.err;
    return Json::parse(used.out)["density"];
  };
  const Json constant = mask_of({"--policy-file", path("p.yaml")});
  std::string text = read_file(path("p.yaml"));
  text.erase(text.find("tensors:"), text.find('\n', text.find("tensors:")) - text.find("tensors:"));
  std::ofstream(path("own.yaml")) << text;
  EXPECT_NE(constant, mask_of({"--policy-file", path("own.yaml")})) << "kbar was not used";
  // Another estimate may bring it too; without codes it is left out.
  mask_of({"--policy-file", path("p.yaml"), "--estimator", "int8"});
  mask_of({"--policy-file", path("p.yaml"), "--estimator", "exact"});
}

TEST_F(Calibrate, a_wrong_request_is_one_sentence_and_writes_nothing) {
  write("a", {{"layer", "5"}});
  write("b");
  const auto refusal = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "calibrate");
    arguments.insert(arguments.end(), {"-o", path("p.yaml")});
    const CommandResult result = run_sale(arguments);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THROW(read_file(path("p.yaml")).at(0), std::out_of_range);
    return result.err;
  };
  EXPECT_NE(refusal({path("a"), path("b")}).find("some files say in their metadata which layer"), std::string::npos);
  EXPECT_NE(refusal({path("b"), "--judge", path("a")}).find("which no file calibrates"), std::string::npos);
  EXPECT_NE(refusal({path("b"), "--hit-mass", "1.5"}).find("must be above 0 and at most 1"), std::string::npos);
  EXPECT_NE(refusal({path("b"), "--bound", "0"}).find("must be above 0"), std::string::npos);
  EXPECT_NE(refusal({path("b"), "--bound", "1", "--tau", "0.1"}).find("leave --tau out"), std::string::npos);
  EXPECT_NE(refusal({path("b"), "--projection"}).find("--projection needs --estimator fp8"), std::string::npos);
  EXPECT_NE(refusal({path("b"), "--projection", "--estimator", "fp8"}).find("below the 64"), std::string::npos);
  EXPECT_NE(refusal({path("b"), "--rows", "64"}).find("belong to --bound"), std::string::npos);
  EXPECT_NE(refusal({path("b"), "--bound", "1", "--lengths", "64"}).find("a query for every key"), std::string::npos);
  EXPECT_NE(refusal({path("none")}).find("there is no such file"), std::string::npos);
  EXPECT_NE(refusal({path("b"), "--estimate-dim", "32"}).find("belong to estimator fp8"), std::string::npos);
}

} // namespace
} // namespace sale::cli_test
