// SPDX-License-Identifier: Apache-2.0
// sale tune: without a GPU, on the emulated one, stopped and gone on with.
#include "autotune/record/record.hpp"
#include "cli/tune_options.hpp"
#include "io/policy_file.hpp"
#include "runtime/need_words.hpp"
#include "sale/tuning.hpp"
#include "tests/cli/command_line.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <csignal>
#include <set>
#include <thread>

#include <sys/wait.h>

namespace sale::cli_test {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::string>;

class Tune : public testing::Test {
protected:
  std::string path(const std::string &name) const { return (folder_.path() / name).string(); }

  CommandResult tune(const Words &more,
                     const std::function<void(pid_t, const std::filesystem::path &)> &meanwhile = {}) {
    Words words = {"tune"};
    words.insert(words.end(), more.begin(), more.end());
    return run_sale(words,
                    {{"SALE_CACHE_DIR", path("cache")},
                     {"SALE_SYSTEM_CACHE_DIR", path("none")},
                     {"SALE_TUNING_DIR", path("tuning")},
                     {"SALE_SYSTEM_TUNING_DIR", path("none")}},
                    "", meanwhile);
  }
  CommandResult dry(Words more) {
    more.insert(more.begin(), {"--model", "llama-3.1-8b", "--dry-run"});
    return tune(more);
  }
  void expect_refused(const Words &words, const std::string &sentence, int exit_code = 2) {
    const CommandResult result = tune(words);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_NE(result.err.find(sentence), std::string::npos) << result.err;
    EXPECT_EQ(result.out, "");
  }

  TemporaryFolder folder_;
};

TEST_F(Tune, without_a_gpu_says_what_is_left_of_the_space_and_what_the_model_likes) {
  const CommandResult result = dry({"--no-compile", "--lengths", "8K,1K"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const char *text : {"attend sm_90a bf16 d128 gqa4 q64 k32\n", " all values\n",
                           "select sm_90a bf16 d128 gqa4 fp8", "attend sm_90a bf16 d128 gqa4 dense", "policy's", "0.05",
                           " default ", "nothing was compiled: --no-compile", "nothing was measured"}) {
    EXPECT_NE(result.out.find(text), std::string::npos) << text << "\n" << result.out;
  }
}

TEST_F(Tune, without_a_gpu_has_the_same_in_json) {
  const CommandResult result = dry({"--no-compile", "--lengths", "2K,1K", "--estimators", "int8", "--json", "-"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json json = Json::parse(result.out);
  ASSERT_EQ(json["kernels"].size(), 4U);
  for (const Json &kernel : json["kernels"]) {
    std::size_t left = kernel["space"];
    EXPECT_GT(left, 0U);
    for (const Json &step : kernel["steps"]) {
      EXPECT_LE(step["left"].get<std::size_t>(), left) << kernel;
      left = step["left"];
    }
    EXPECT_EQ(kernel["candidates"].size(), left) << kernel;
  }
  ASSERT_EQ(json["ranking"].size(), 2U * 5U); // attend in two bands
  for (const Json &ranking : json["ranking"]) {
    for (const Json &candidate : ranking["candidates"]) {
      EXPECT_GT(candidate["model_ms"].get<double>(), 0) << ranking;
    }
  }
}

TEST_F(Tune, compiles_what_is_left_into_the_cache) {
  const Words words = {"--lengths", "1K", "--estimators", "int8", "--nvrtc", FAKE_NVRTC, "--json", "-"};
  const CommandResult result = dry(words);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json report = Json::parse(result.out);
  for (const Json &kernel : report["kernels"]) {
    EXPECT_GT(kernel["candidates"].at(0)["registers"].get<int>(), 0) << kernel;
  }
  const CommandResult used = run_sale({"prewarm", "--check", "--arch", "sm_90a", "--heads", "32", "--kv-heads", "8",
                                       "--head-dim", "128", "--cache-dir", path("cache"), "--nvrtc", FAKE_NVRTC});
  EXPECT_NE(used.out.find("mean"), std::string::npos) << used.out; // which no tile is chosen for
  EXPECT_EQ(used.out.find("attend"), std::string::npos) << used.out;
}

TEST_F(Tune, without_a_compiler_says_why) {
  const CommandResult result = dry({"--nvrtc", "/nonexistent", "--lengths", "1K", "--estimators", "int8"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.out.find("nothing was compiled: "), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("/nonexistent"), std::string::npos) << result.out;
}

TEST_F(Tune, without_a_gpu_writes_what_the_model_chooses_for_one_that_is_named) {
  const CommandResult result = dry({"--no-compile", "--lengths", "8K,1K", "--output", path("model.yaml"), "--gpu",
                                    "A GPU", "--multiprocessors", "78"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const TuningRecord record = *load_tuning(path("model.yaml"));
  ASSERT_EQ(record.gpus.size(), 1U);
  EXPECT_EQ(record.gpus[0].name, "A GPU");
  EXPECT_EQ(record.gpus[0].multiprocessors, 78);
  EXPECT_EQ(record.gpus[0].kernels.size(), 6U);
  EXPECT_NE(record.gpus[0].facts.at("chosen by").find("model"), std::string::npos);
  const CommandResult used = run_sale({"prewarm", "--dry-run", "--arch", "sm_90a", "--model", "llama-3.1-8b",
                                       "--tuning", path("model.yaml"), "--gpu", "A GPU"});
  EXPECT_EQ(used.exit_code, 0) << used.err;
}

TEST_F(Tune, shows_its_space) {
  const CommandResult result = tune({"--show-space"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_FALSE(result.out.empty());
}

TEST_F(Tune, says_what_is_wrong_with_its_words) {
  const Words llama = {"--model", "llama-3.1-8b"};
  const auto with = [&](Words more) {
    more.insert(more.begin(), llama.begin(), llama.end());
    return more;
  };
  expect_refused({}, "say what to tune for in one way");
  expect_refused({"--model", "llama-9"}, "unknown model \"llama-9\"");
  expect_refused(with({"--heads", "4"}), "say what to tune for in one way");
  expect_refused(with({"--lengths", "3000"}), "must be a power of two");
  expect_refused(with({"--lengths", "long"}), "long");
  expect_refused(with({"--densities", "0.7"}), "--densities");
  expect_refused(with({"--estimators", "int9"}), "int9");
  expect_refused(with({"--estimators", "int8", "--estimator", "fp8"}), "goes without --estimator");
  expect_refused(with({"--fixed-channels", "--estimator", "fp8"}), "--fixed-channels needs");
  expect_refused(with({"--dry-run", "--arch", "sm_80", "--estimators", "fp8"}), "fp8");
  expect_refused(with({"--dry-run", "--output", path("model.yaml")}), "needs --gpu NAME");
  expect_refused(with({"--no-compile"}), "--no-compile");
  expect_refused(with({"--device", "cpu"}), "--device");
  expect_refused(with({"--output", path("no/such/folder.yaml")}), "there is no folder");
}

TEST_F(Tune, without_a_driver_advises_a_dry_run) {
  expect_refused({"--model", "llama-3.1-8b", "--cuda-driver", "/nonexistent/libcuda.so.1"},
                 "sale tune --dry-run ranks the tiles without one", 1);
}

TEST(TuneOptions, take_the_words_of_any_need) {
  Policy policy;
  policy.estimator = Estimator::fp8;
  policy.estimate_dim = 64;
  policy.channels.resize(2 * 64);
  for (std::size_t i = 0; i < policy.channels.size(); ++i) {
    policy.channels[i] = static_cast<int>(i % 64) * 2;
  }
  policy.fp8_attend = policy.second_filter = true;
  const Problem problem{.dtype = DType::f16, .num_q_heads = 4, .num_kv_heads = 2, .sliding_window = 512};
  Words words = problem_words(problem);
  const Words more = policy_words(policy);
  words.insert(words.end(), more.begin(), more.end());
  words.insert(words.end(), {"--lengths", "1024", "--stop-at-end-of-input"});
  std::reverse(words.begin(), words.end()); // as CLI11 takes them
  CLI::App app;
  cli::TuneOptions options;
  options.add_to(app);
  app.parse(words);
  const Arch arch = parse_arch("sm_90a");
  std::set<std::string> kernels;
  for (const autotune::TuneBucket &bucket : options.buckets(arch)) {
    kernels.insert(bucket.task.kernel.class_name());
  }
  std::set<std::string> expected;
  for (const autotune::TuneBucket &bucket :
       autotune::tune_buckets({{problem, policy, {}}}, {1024}, autotune::default_bands(), arch)) {
    expected.insert(bucket.task.kernel.class_name());
  }
  EXPECT_EQ(kernels, expected);
}

TEST(TuneOptions, make_bands_that_meet_between_densities) {
  cli::TuneOptions options;
  const auto ends = [&](std::vector<double> densities) {
    options.densities = std::move(densities);
    std::vector<float> each_end;
    for (const autotune::DensityBand &band : options.bands()) {
      each_end.push_back(band.up_to);
    }
    return each_end;
  };
  EXPECT_EQ(ends({0.05}), (std::vector<float>{0.08F, 1}));
  EXPECT_EQ(ends({0}), (std::vector<float>{1}));
  EXPECT_EQ(ends({0.2, 0.05, 0.05}), (std::vector<float>{0.08F, 0.32F, 1}));
  EXPECT_EQ(ends({0.04, 0.09}), (std::vector<float>{0.06F, 0.144F, 1}));
}

class TuneOnTheEmulator : public Tune {
protected:
  void SetUp() override {
    if (SALE_HAS_EMULATOR == 0) {
      GTEST_SKIP() << "this build has no emulator";
    }
  }
  Words words(Words more = {}) const {
    more.insert(more.begin(), {"--device",         "emulator",
                               "--arch",           "sm_80",
                               "--heads",          "2",
                               "--kv-heads",       "1",
                               "--head-dim",       "64",
                               "--lengths",        "256",
                               "--candidates",     "1",
                               "--rounds",         "3",
                               "--bucket-seconds", "0",
                               "--densities",      "0",
                               "--output",         path("record.yaml")});
    return more;
  }
  // Ctrl-C once it is time, if the process has not ended before.
  template <class Time>
  static void interrupt(pid_t process, const Time &is_time) {
    siginfo_t ended{};
    while (!is_time() && ended.si_pid == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      ::waitid(P_PID, static_cast<id_t>(process), &ended, WEXITED | WNOHANG | WNOWAIT);
    }
    ::kill(process, SIGINT);
  }
  static void interrupt_after_a_bucket(pid_t process, const std::filesystem::path &err) {
    interrupt(process, [&] { return read_file(err).find("[1/4]") != std::string::npos; });
  }
};

TEST_F(TuneOnTheEmulator, stops_at_ctrl_c_and_goes_on_to_a_record) {
  const CommandResult stopped = tune(words(), interrupt_after_a_bucket);
  ASSERT_EQ(stopped.exit_code, 128 + SIGINT) << stopped.err;
  EXPECT_NE(stopped.err.find("--resume goes on"), std::string::npos) << stopped.err;
  EXPECT_TRUE(std::filesystem::exists(path("record.yaml.journal")));
  EXPECT_FALSE(std::filesystem::exists(path("record.yaml")));

  const CommandResult result = tune(words({"--resume", "--json", path("report.json")}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("from the journal"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("[4/4] "), std::string::npos) << result.err;
  EXPECT_NE(result.out.find("the record is in " + path("record.yaml")), std::string::npos) << result.out;
  EXPECT_FALSE(std::filesystem::exists(path("record.yaml.journal")));

  const Json report = Json::parse(read_file(path("report.json")));
  EXPECT_EQ(report["stopped"], "");
  ASSERT_EQ(report["buckets"].size(), 4U);
  for (const Json &bucket : report["buckets"]) {
    EXPECT_GT(bucket["default_ms"].get<double>(), 0) << bucket;
    EXPECT_LE(bucket["ratio"].get<double>(), 1) << bucket;
    EXPECT_LE(bucket["candidates"].size(), 2U) << bucket;
  }
  const TuningRecord record = *load_tuning(path("record.yaml"));
  ASSERT_EQ(record.gpus.size(), 1U);
  EXPECT_EQ(record.gpus[0].name, "Emulated sm_80");
  EXPECT_EQ(record.gpus[0].kernels.size(), 4U);
}

TEST_F(TuneOnTheEmulator, proposes_a_policy_that_a_policy_file_is) {
  const CommandResult result = tune(words({"--budget", "0.001", "--propose-policy", path("policy.yaml")}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const char *text : {"as given", "blocks 128x64", "\ndense ", "why not"}) {
    EXPECT_NE(result.out.find(text), std::string::npos) << text << "\n" << result.out;
  }
  const std::string text = read_file(path("policy.yaml"));
  EXPECT_NE(text.find("# A proposal of sale tune, measured on Emulated sm_80"), std::string::npos) << text;
  EXPECT_NE(text.find("Nothing uses it"), std::string::npos) << text;
  const io::PolicyFile file = io::load_policy_file(path("policy.yaml"));
  const Policy policy = io::layer_policy(file, {}, {.head_dim = 64, .num_q_heads = 2, .num_kv_heads = 1});
  EXPECT_EQ(policy.tau_per_head, std::vector<float>(2, Policy().tau));
}

TEST_F(TuneOnTheEmulator, stopped_while_it_proposes_has_tuned_nevertheless) {
  const CommandResult result =
      tune(words({"--propose-policy", path("policy.yaml")}), [&](pid_t process, const std::filesystem::path &) {
        interrupt(process, [&] { return std::filesystem::exists(path("record.yaml")); });
      });
  EXPECT_EQ(result.exit_code, 128 + SIGINT) << result.err;
  EXPECT_NE(result.err.find("the tiles are tuned, and no policy is proposed"), std::string::npos) << result.err;
  EXPECT_EQ(load_tuning(path("record.yaml"))->gpus.size(), 1U);
  EXPECT_FALSE(std::filesystem::exists(path("policy.yaml")));
}

TEST_F(Tune, refuses_a_proposal_that_cannot_be) {
  expect_refused({"--model", "llama-3.1-8b", "--dry-run", "--propose-policy", path("p.yaml")}, "--propose-policy");
  expect_refused({"--model", "llama-3.1-8b,qwen2.5-7b", "--propose-policy", path("p.yaml")}, "one model");
  expect_refused({"--model", "llama-3.1-8b", "--propose-policy", path("none/p.yaml")}, "there is no folder");
}

TEST_F(TuneOnTheEmulator, has_nothing_to_resume_at_first) { expect_refused(words({"--resume"}), "nothing to resume"); }

} // namespace
} // namespace sale::cli_test
