// SPDX-License-Identifier: Apache-2.0
#include "io/qkv.hpp"
#include "synth/make.hpp"
#include "tests/cli/command_line.hpp"

#include <gtest/gtest.h>

namespace sale::synth {
namespace {

using cli_test::CommandResult;
using cli_test::run_sale;

TEST(SynthCommand, writes_what_run_reads) {
  const TemporaryFolder folder;
  const std::string file = folder.path() / "qkv.safetensors";
  const CommandResult result =
      run_sale({"synth", "--length", "500", "--density", "0.15", "--seed", "9", "--batch", "2", "--heads", "6",
                "--kv-heads", "3", "--head-dim", "64", "--dtype", "f16", "-o", file});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("[2, 6, 500, 64]"), std::string::npos) << result.out;

  Problem problem;
  problem.dtype = DType::f16;
  problem.num_q_heads = 6;
  problem.num_kv_heads = 3;
  problem.head_dim = 64;
  const Qkv expected = make(problem, {2, 500, 500}, structure_for(500, 0.15, 64), 9);
  const io::Qkv read = io::load_qkv(file);
  EXPECT_EQ(read.problem.dtype, DType::f16);
  EXPECT_EQ(read.q, expected.q);
  EXPECT_EQ(read.k, expected.k);
  EXPECT_EQ(read.v, expected.v);
  EXPECT_EQ(run_sale({"run", "--qkv", file, "--device", "cpu"}).exit_code, 0);
}

TEST(SynthCommand, refuses_what_it_cannot_make) {
  const TemporaryFolder folder;
  const std::string file = folder.path() / "qkv.safetensors";
  const std::vector<std::vector<std::string>> wrong = {{"--length", "0"},    {"--density", "0.5"}, {"--head-dim", "80"},
                                                       {"--kv-heads", "5"},  {"--dtype", "f32"},   {"--batch", "0"},
                                                       {"-o", "/no/folder"}, {"--heads", "0"}};
  for (const auto &words : wrong) {
    std::vector<std::string> arguments = {"synth", "--length", "64"};
    if (words[0] == "--length") {
      arguments.resize(1);
    }
    arguments.insert(arguments.end(), words.begin(), words.end());
    if (words[0] != "-o") {
      arguments.insert(arguments.end(), {"-o", file});
    }
    const CommandResult result = run_sale(arguments);
    EXPECT_EQ(result.exit_code, 2) << words[0] << ": " << result.err;
    EXPECT_FALSE(result.err.empty()) << words[0];
  }
  EXPECT_FALSE(std::filesystem::exists(file));
}

} // namespace
} // namespace sale::synth
