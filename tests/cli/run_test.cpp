// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors.hpp"
#include "tests/cli/command_line.hpp"

#include <algorithm>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <span>

namespace sale::cli_test {
namespace {

using Json = nlohmann::json;

class Run : public testing::Test {
protected:
  void SetUp() override { write_input(path("qkv"), {}); }

  std::string path(const std::string &name) const { return (folder_.path() / name).string(); }

  CommandResult run(const std::vector<std::string> &more) const {
    std::vector<std::string> arguments = {"run", "--qkv", path("qkv"), "--device", "cpu"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_sale(arguments);
  }
  Json run_json(std::vector<std::string> more) const {
    more.emplace_back("--json");
    const CommandResult result = run(more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return Json::parse(result.out);
  }

  TemporaryFolder folder_;
};

TEST_F(Run, the_text_says_density_error_recall_and_time) {
  const CommandResult result = run({"--compare"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err, "");
  for (const char *word :
       {"input", "policy", "CPU oracle", "density", "rel-L1", "cosine", "recall", "time", "attend"}) {
    EXPECT_NE(result.out.find(word), std::string::npos) << word << " is not in:\n" << result.out;
  }
}

TEST_F(Run, tau_zero_is_dense) {
  const Json report = run_json({"--tau", "0", "--compare"});
  EXPECT_EQ(report["density"]["total"], 1.0);
  EXPECT_LT(report["quality"]["rel_l1"].get<double>(), 4e-3); // one rounding to bf16
  EXPECT_GT(report["quality"]["cosine"].get<double>(), 0.9999);
  EXPECT_NEAR(report["quality"]["recall"]["min"].get<double>(), 1.0, 1e-6);
}

TEST_F(Run, a_large_tau_keeps_little_and_is_a_worse_answer) {
  const Json few = run_json({"--tau", "1", "--compare"});
  const Json many = run_json({"--tau", "0.01", "--compare"});
  EXPECT_LT(few["density"]["total"], many["density"]["total"]);
  EXPECT_GT(few["quality"]["rel_l1"], many["quality"]["rel_l1"]);
  EXPECT_LT(few["quality"]["recall"]["mean"], many["quality"]["recall"]["mean"]);
}

TEST_F(Run, json_holds_everything_that_a_program_wants) {
  const Json report = run_json({"--compare", "--estimator", "int4", "--max-rel-l1", "10"});
  EXPECT_EQ(report["estimator"], "int4");
  EXPECT_EQ(report["device"], "cpu");
  EXPECT_EQ(report["input"]["kv_len"], 700);
  EXPECT_EQ(report["density"]["per_head"].size(), 4U);
  EXPECT_EQ(report["quality"]["hit_mass"].size(), 4U);
  for (const char *stage : {"mean", "quantize", "prepare", "select", "attend", "total", "dense"}) {
    EXPECT_TRUE(report["ms"].contains(stage)) << stage;
  }
  for (const char *figure : {"mean", "p1", "min"}) {
    EXPECT_TRUE(report["quality"]["recall"].contains(figure)) << figure;
  }
  EXPECT_EQ(report["check"]["met"], true);
  EXPECT_TRUE(report["kernels"].is_array());
}

TEST_F(Run, json_into_a_file_leaves_the_text_on_standard_output) {
  const CommandResult result = run({"--json=" + path("report.json")});
  EXPECT_NE(result.out.find("density"), std::string::npos);
  EXPECT_EQ(Json::parse(read_file(path("report.json")))["schema"], 1);
}

TEST_F(Run, output_tensors_have_the_documented_shapes_and_agree_with_the_report) {
  const Json report = run_json({"--tau", "0.5", "--out", path("out")});
  io::SafetensorsReader file(path("out"));
  EXPECT_EQ(file.find("out").dtype, "BF16");
  EXPECT_EQ(file.find("out").shape, (std::vector<std::uint64_t>{1, 4, 256, 64}));
  EXPECT_EQ(file.find("lse").shape, (std::vector<std::uint64_t>{1, 4, 256}));
  const io::TensorEntry &mask = file.find("mask");
  EXPECT_EQ(mask.shape, (std::vector<std::uint64_t>{1, 4, 4, 3})); // 4 query blocks, 22 key blocks
  std::vector<std::uint8_t> bytes(mask.bytes);
  file.read(mask, std::as_writable_bytes(std::span(bytes)));
  int kept = 0;
  for (const std::uint8_t byte : bytes) {
    kept += __builtin_popcount(byte);
  }
  // Rows 444..699 in blocks of 64 see ceil(508/32), ceil(572/32), ceil(636/32) and ceil(700/32) key blocks.
  const double visible = 4 * (16 + 18 + 20 + 22);
  EXPECT_DOUBLE_EQ(report["density"]["total"].get<double>(), kept / visible);
}

TEST_F(Run, a_tau_file_with_equal_thresholds_does_what_tau_does) {
  write_file(
      path("tau.yaml"),
      "schema: 1\nmodel: test\npolicy: {estimator: exact, window: 64}\ntau:\n- [1, 1, 1, 1]\n- [0.5, 0.5, 0.5, 0.5]\n");
  const Json from_file = run_json({"--tau-file", path("tau.yaml"), "--layer", "1", "--out", path("a")});
  run_json({"--tau", "0.5", "--estimator", "exact", "--window", "64", "--out", path("b")});
  EXPECT_EQ(from_file["estimator"], "exact");
  EXPECT_EQ(from_file["policy"]["window"], 64);
  EXPECT_EQ(from_file["policy"]["tau"].size(), 4U);
  EXPECT_EQ(read_file(path("a")), read_file(path("b")));
}

TEST_F(Run, the_command_line_wins_over_the_policy_of_a_tau_file) {
  write_file(path("tau.yaml"), "schema: 1\npolicy: {estimator: exact, block_k: 64}\ntau: [[1, 1, 1, 1]]\n");
  const Json report = run_json({"--tau-file", path("tau.yaml"), "--estimator", "int8"});
  EXPECT_EQ(report["estimator"], "int8");
  EXPECT_EQ(report["policy"]["block_k"], 64);
}

TEST_F(Run, a_picture_of_one_head_or_all_is_a_png) {
  EXPECT_EQ(run({"--mask", path("all.png")}).exit_code, 0);
  EXPECT_EQ(run({"--mask", path("one.png"), "--mask-head", "2"}).exit_code, 0);
  EXPECT_EQ(read_file(path("all.png")).substr(0, 4), "\x89PNG");
  EXPECT_NE(read_file(path("all.png")), read_file(path("one.png")));
}

TEST_F(Run, files_appear_whole_and_leave_nothing_else_behind) {
  std::filesystem::create_directory(path("results"));
  std::filesystem::create_symlink(path("results/target"), path("results/link"));
  write_file(path("results/target"), "old");
  EXPECT_EQ(run({"--mask", path("results/m.png"), "--out", path("results/link"), "--json=" + path("results/r.json")})
                .exit_code,
            0);
  std::vector<std::string> names;
  for (const auto &entry : std::filesystem::directory_iterator(path("results"))) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"link", "m.png", "r.json", "target"}));
  EXPECT_TRUE(std::filesystem::is_symlink(path("results/link")));
  EXPECT_EQ(io::SafetensorsReader(path("results/target")).find("out").dtype, "BF16");
}

TEST_F(Run, a_device_file_is_written_to_and_the_report_comes_before_a_failure) {
  EXPECT_EQ(run({"--out", "/dev/null"}).exit_code, 0);
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  const CommandResult result = run({"--out", "/dev/full"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.out.find("density"), std::string::npos);
  EXPECT_NE(result.err.find("could not be written to its end"), std::string::npos) << result.err;
}

TEST_F(Run, a_check_that_is_not_met_still_prints_the_report) {
  const CommandResult result = run({"--max-rel-l1", "1e-9", "--json"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(Json::parse(result.out)["check"]["met"], false);
}

TEST_F(Run, auto_falls_back_to_the_cpu_and_says_why) {
  const CommandResult result = run_sale({"run", "--qkv", path("qkv"), "--cuda-driver", path("libcuda.so.1")});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.err.find("sale: running on the CPU: the driver that was named cannot be opened"), std::string::npos)
      << result.err;
  EXPECT_NE(result.out.find("CPU oracle"), std::string::npos);
}

TEST_F(Run, auto_falls_back_to_the_cpu_when_the_gpu_is_too_old) {
  const CommandResult result =
      run_sale({"run", "--qkv", path("qkv"), "--cuda-driver", FAKE_CUDA}, {{"FAKE_CUDA_COMPUTE_CAPABILITY", "75"}});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.err.find("sale: running on the CPU: the GPU has compute capability 7.5"), std::string::npos)
      << result.err;
  EXPECT_NE(result.out.find("CPU oracle"), std::string::npos);
}

// The stand-ins compute nothing: this shows that the GPU's path allocates, copies, times and reports.
TEST_F(Run, a_gpu_is_used_when_there_is_a_driver) {
  const CommandResult result =
      run_sale({"run", "--qkv", path("qkv"), "--compare", "--json", "--out", path("out"), "--cuda-driver", FAKE_CUDA,
                "--nvrtc", FAKE_NVRTC, "--cache-dir", path("cache")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const Json report = Json::parse(result.out);
  EXPECT_EQ(report["device"], "Fake GPU");
  EXPECT_EQ(report["arch"], "sm_90a");
  EXPECT_EQ(report["quality"]["dense_by"], "gpu");
  EXPECT_EQ(report["kernels"].size(), 6U);
  EXPECT_EQ(report["kernels"][0]["key"].get<std::string>().size(), 64U);
  EXPECT_EQ(io::SafetensorsReader(path("out")).find("out").shape, (std::vector<std::uint64_t>{1, 4, 256, 64}));
}

TEST_F(Run, half_precision_and_batches_work) {
  write_input(path("qkv"),
              {.dtype = "F16", .batch = 2, .num_q_heads = 3, .num_kv_heads = 1, .q_len = 65, .kv_len = 65});
  const Json report = run_json({"--compare", "--tau", "0"});
  EXPECT_EQ(report["input"]["dtype"], "f16");
  EXPECT_EQ(report["input"]["batch"], 2);
  EXPECT_LT(report["quality"]["rel_l1"].get<double>(), 1e-3);
}

TEST_F(Run, the_softmax_scale_is_the_files_unless_given) {
  EXPECT_EQ(run_json({})["input"]["softmax_scale"], 0.125);
  EXPECT_EQ(run_json({"--softmax-scale", "0.25"})["input"]["softmax_scale"], 0.25);
  write_input(path("qkv"), {.metadata = {{"softmax_scale", "0.5"}}});
  EXPECT_EQ(run_json({})["input"]["softmax_scale"], 0.5);
  EXPECT_EQ(run_json({"--softmax-scale", "0.25"})["input"]["softmax_scale"], 0.25);
}

} // namespace
} // namespace sale::cli_test
