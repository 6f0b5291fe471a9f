// SPDX-License-Identifier: Apache-2.0
// Commands on the emulated device, as a user gives them.
#include "tests/cli/command_line.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace sale::cli_test {
namespace {

using Json = nlohmann::json;

TEST(NoEmulator, is_one_sentence) {
  const CommandResult result =
      run_sale({"check", "--device", "emulator"}, {{"SALE_EMULATOR", "/nonexistent/libsale_emulator.so"}});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find("sale: the emulator cannot be loaded: /nonexistent/libsale_emulator.so"), std::string::npos)
      << result.err;
}

class EmulatorCommand : public testing::Test {
protected:
  void SetUp() override {
    if (SALE_HAS_EMULATOR == 0) {
      GTEST_SKIP() << "this build has no emulator";
    }
  }
  std::string path(const std::string &name) const { return (folder_.path() / name).string(); }

  TemporaryFolder folder_;
};

TEST_F(EmulatorCommand, run_gives_what_the_oracle_gives) {
  write_input(path("qkv"), {.q_len = 70, .kv_len = 300});
  const auto run = [&](const std::vector<std::string> &more) {
    std::vector<std::string> arguments = {"run", "--qkv", path("qkv"), "--window", "0", "--compare", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const CommandResult result = run_sale(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return Json::parse(result.out);
  };
  const Json emulated = run({"--device", "emulator", "--arch", "sm_86"});
  const Json oracle = run({"--device", "cpu"});
  EXPECT_EQ(emulated["device"], "Emulated sm_86");
  EXPECT_EQ(emulated["density"], oracle["density"]);
  EXPECT_NEAR(emulated["quality"]["rel_l1"].get<double>(), oracle["quality"]["rel_l1"].get<double>(), 4e-3);
}

TEST_F(EmulatorCommand, check_counts_cases_failures_and_kernels) {
  write_file(path("case.yaml"), "- {q_len: 33, kv_len: 65, num_q_heads: 2, num_kv_heads: 1, arch: sm_80}\n"
                                "- {q_len: 33, kv_len: 65, num_q_heads: 2, num_kv_heads: 1, mode: dense}\n");
  const CommandResult result = run_sale({"check", "--spec", path("case.yaml"), "--arch", "sm_80", "--seed", "3"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("[2/2] ok"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("2 cases, 0 failed, 6 kernels"), std::string::npos) << result.out;
}

TEST_F(EmulatorCommand, info_says_where_it_is) {
  EXPECT_NE(run_sale({"info"}).out.find("libsale_emulator.so"), std::string::npos);
}

TEST(Check, lists_the_covering_set_without_a_device) {
  const CommandResult result = run_sale({"check", "--list", "--arch", "sm_120"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("sm_120 sparse"), std::string::npos);
  EXPECT_EQ(result.out.find("sm_80"), std::string::npos);
}

TEST_F(EmulatorCommand, check_says_once_that_clang_is_missing) {
  write_file(path("case.yaml"), "{q_len: 33, kv_len: 65, arch: sm_80}\n");
  const CommandResult result = run_sale({"check", "--spec", path("case.yaml")}, {{"SALE_CLANG", "/nonexistent/clang"}});
  EXPECT_EQ(result.exit_code, 1) << result.out;
  EXPECT_NE(result.err.find("the emulator cannot run /nonexistent/clang"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("install the package clang-19"), std::string::npos) << result.err;
  EXPECT_EQ(result.out, "");
}

TEST_F(EmulatorCommand, check_refuses_to_check_nothing) {
  write_file(path("case.yaml"), "{q_len: 33, kv_len: 65, arch: sm_80}\n");
  const CommandResult result = run_sale({"check", "--spec", path("case.yaml"), "--arch", "sm_90"});
  EXPECT_EQ(result.exit_code, 2) << result.out;
  EXPECT_NE(result.err.find("there is no case to check; --arch"), std::string::npos) << result.err;
}

TEST(Check, refuses_the_cpu_and_a_spec_that_is_wrong) {
  EXPECT_EQ(run_sale({"check", "--device", "cpu"}).exit_code, 2);
  const CommandResult result = run_sale({"check", "--spec", "/nonexistent.yaml", "--list"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("/nonexistent.yaml"), std::string::npos);
}

} // namespace
} // namespace sale::cli_test
