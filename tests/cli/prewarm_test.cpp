// SPDX-License-Identifier: Apache-2.0
// `sale prewarm` with the stand-in for NVRTC, or with a real one where a kernel must be one.
#include "cache/store.hpp"
#include "sale/sale.hpp"
#include "tests/cli/command_line.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <iterator>
#include <sstream>
#include <thread>

namespace sale::cli_test {
namespace {

namespace fs = std::filesystem;

using Words = std::vector<std::string>;

void expect_contains(const std::string &text, const std::string &part) {
  EXPECT_NE(text.find(part), std::string::npos) << "\"" << part << "\" is not in:\n" << text;
}

void expect_lacks(const std::string &text, const std::string &part) {
  EXPECT_EQ(text.find(part), std::string::npos) << "\"" << part << "\" is in:\n" << text;
}

class PrewarmFake : public testing::Test {
protected:
  CommandResult prewarm(const Words &words, const std::string &nvrtc = FAKE_NVRTC) const {
    Words all = {"prewarm", "--cache-dir", cache(), "--nvrtc", nvrtc};
    all.insert(all.end(), words.begin(), words.end());
    return run_sale(all, environment_);
  }

  /// Prewarms slowly, on one core, until `kernels` are done, and then sends the signal so many times.
  CommandResult interrupted(int signal, int times, int kernels, const std::string &nvrtc = FAKE_NVRTC,
                            const char *milliseconds = "300") const {
    const auto send = [&](pid_t process, const fs::path &err) {
      const std::string mark = "[" + std::to_string(kernels) + "/";
      for (int i = 0; i < 1000 && read_file(err).find(mark) == std::string::npos; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
      for (int i = 0; i < times; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        ::kill(process, signal);
      }
    };
    return run_sale({"prewarm", "--arch", "sm_80", "--model", "llama-3.1-8b", "--cache-dir", cache(), "--nvrtc", nvrtc,
                     "--jobs", "1"},
                    {{"FAKE_NVRTC_MS", milliseconds}}, "", send);
  }

  /// What a frozen Engine lacks is there after the command that its error advises.
  void expect_good_advice(const std::string &arch) const {
    Options options;
    options.cuda_driver = FAKE_CUDA;
    options.nvrtc = "/nonexistent";
    options.cache_dir = cache();
    options.system_cache_dir = file("none");
    options.frozen = true;
    options.arch = arch;
    const Engine engine(-1, options);
    Problem problem;
    problem.num_q_heads = 6;
    problem.num_kv_heads = 2;
    problem.sliding_window = 100;
    Policy policy;
    policy.block_k = 64;
    const Serving serving = {.page_size = 64, .parts = true};
    std::string message;
    try {
      engine.prepare(problem, policy, serving);
    } catch (const Error &error) {
      EXPECT_EQ(error.kind(), ErrorKind::not_cached);
      message = error.what();
    }
    const std::string start = "`sale prewarm ";
    ASSERT_NE(message.find(start), std::string::npos) << message;
    std::string command = message.substr(message.find(start) + start.size());
    command.resize(command.find('`'));
    Words words;
    std::istringstream stream(command);
    std::copy(std::istream_iterator<std::string>(stream), {}, std::back_inserter(words));

    const CommandResult filled = prewarm(words);
    EXPECT_EQ(filled.exit_code, 0) << filled.err;
    const Plan plan = engine.prepare(problem, policy, serving);
    EXPECT_EQ(plan.kernels().size(), stored().size());
  }

  std::string cache() const { return (folder_.path() / "cache").string(); }
  std::string file(const std::string &name) const { return (folder_.path() / name).string(); }

  std::vector<StoredFile> stored() const {
    return Store({.root = cache()}, [](const std::string &) {}).list();
  }

  TemporaryFolder folder_;
  std::map<std::string, std::string> environment_ = {{"SALE_SYSTEM_CACHE_DIR", folder_.path() / "none"}};
};

TEST_F(PrewarmFake, models_that_need_the_same_kernels_share_them) {
  const CommandResult result =
      prewarm({"--arch", "sm_80,sm_89", "--model", "llama-3.1-8b,mistral-7b", "--model", "qwen2.5-7b"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char *text : {"llama-3.1-8b: bf16, 4 query heads for each KV head, head_dim 128", "mistral-7b: bf16",
                           "qwen2.5-7b: bf16, 7 query heads", "[1/"}) {
    expect_contains(result.out + result.err, text);
  }
  // mean and quantize are of all three; prepare, select and the two of attend of each ratio.
  expect_contains(result.out, "20 kernels");
  EXPECT_EQ(stored().size(), 20U);
  expect_contains(prewarm({"--arch", "sm_80,sm_89", "--model", "mistral-7b"}).out, "0 compiled, 12 from the cache");
}

TEST_F(PrewarmFake, all_models_and_a_shape_in_words) {
  const CommandResult all = prewarm({"--arch", "sm_90a", "--all-models", "--dry-run"});
  EXPECT_EQ(all.exit_code, 0) << all.err;
  expect_contains(all.out, "kernels are needed");
  EXPECT_FALSE(fs::exists(cache()));
  const CommandResult shape = prewarm({"--arch", "sm_90a", "--heads", "24", "--kv-heads", "8", "--head-dim", "192",
                                       "--v-head-dim", "128", "--dtype", "f16", "--sliding-window", "64"});
  EXPECT_EQ(shape.exit_code, 0) << shape.err;
  expect_contains(shape.out, "this shape: f16, 3 query heads for each KV head, head_dim 192, v_head_dim 128");
  expect_contains(shape.out, "f16 d192 v128 gqa3 sliding");
}

TEST_F(PrewarmFake, check_says_what_is_missing_without_any_compiler) {
  const Words what = {"--arch", "sm_80", "--model", "llama-3.1-8b"};
  Words check = what;
  check.emplace_back("--check");
  const CommandResult nothing = prewarm(check, "/nonexistent");
  EXPECT_EQ(nothing.exit_code, 3);
  expect_contains(nothing.err, "6 of 6 kernels are missing");
  EXPECT_FALSE(fs::exists(cache()));

  EXPECT_EQ(prewarm(what).exit_code, 0);
  const CommandResult complete = prewarm(check, "/nonexistent");
  EXPECT_EQ(complete.exit_code, 0) << complete.err;
  EXPECT_EQ(complete.out, "all 6 kernels are in the cache\n");

  const StoredFile gone = stored().front();
  fs::remove(gone.path);
  for (const char *nvrtc : {"/nonexistent", FAKE_NVRTC}) {
    const CommandResult lacking = prewarm(check, nvrtc);
    EXPECT_EQ(lacking.exit_code, 3);
    expect_contains(lacking.out, gone.entry->spec);
    expect_contains(lacking.out, gone.entry->key.substr(0, 12));
    EXPECT_EQ(std::count(lacking.out.begin(), lacking.out.end(), '\n'), 2) << lacking.out;
    expect_contains(lacking.err, "1 of 6 kernels are missing");
  }
  EXPECT_EQ(stored().size(), 5U);
}

TEST_F(PrewarmFake, a_manifest_stands_for_the_command_that_wrote_it) {
  const std::string manifest = file("needs.yaml");
  const CommandResult written =
      prewarm({"--arch", "sm_80,sm_90a", "--model", "llama-3.1-8b,deepseek-v3", "--serving", "plain,paged:64",
               "--estimator", "int8", "--write-manifest", manifest, "--dry-run"});
  EXPECT_EQ(written.exit_code, 0) << written.err;
  const auto kernels_of = [](const std::string &text) { return text.substr(text.find("kernels:")); };
  const std::string text = read_file(manifest);
  expect_contains(text, "serving: paged:64");

  EXPECT_EQ(prewarm({"--manifest", manifest, "--check"}).exit_code, 3);
  const CommandResult filled = prewarm({"--manifest", manifest, "--write-manifest", file("again.yaml")});
  EXPECT_EQ(filled.exit_code, 0) << filled.err;
  EXPECT_EQ(read_file(file("again.yaml")), text);
  for (const StoredFile &stored_file : stored()) {
    expect_contains(kernels_of(text), stored_file.entry->key);
  }
  EXPECT_EQ(prewarm({"--manifest", manifest, "--check"}).exit_code, 0);
  const CommandResult one = prewarm({"--manifest", manifest, "--arch", "sm_80", "--dry-run"});
  EXPECT_EQ(one.exit_code, 0) << one.err;
  expect_lacks(one.out, "sm_90a");
}

TEST_F(PrewarmFake, a_manifest_of_other_kernels_is_refused) {
  const std::string manifest = file("needs.yaml");
  EXPECT_EQ(
      prewarm({"--arch", "sm_80", "--model", "llama-3.1-8b", "--write-manifest", manifest, "--dry-run"}).exit_code, 0);
  const std::string text = read_file(manifest);
  const std::size_t key = text.find("key: ") + 5;
  std::string changed = text;
  changed[key] = changed[key] == '0' ? '1' : '0';
  write_file(manifest, changed);
  const CommandResult other = prewarm({"--manifest", manifest, "--check"});
  EXPECT_EQ(other.exit_code, 2);
  expect_contains(other.err, manifest +
                                 ":11: mean sm_80 bf16 d128 is made differently here, or not at all: the manifest "
                                 "was made by another version, ");
  expect_contains(other.err, "write it anew with --write-manifest");

  write_file(manifest, text.substr(0, text.rfind("  - {name")));
  const CommandResult fewer = prewarm({"--manifest", manifest});
  EXPECT_EQ(fewer.exit_code, 2);
  expect_contains(fewer.err, "is not in it");

  write_file(manifest, text);
  expect_contains(prewarm({"--manifest", manifest, "--arch", "sm_86"}).err, "--arch sm_86 is not among its archs");
  for (const Words &words : {Words{"--model", "qwen3-8b"}, Words{"--tau", "0"}, Words{"--heads", "4"},
                             Words{"--serving", "ragged"}, Words{"--projection"}}) {
    Words all = {"--manifest", manifest, "--check"};
    all.insert(all.end(), words.begin(), words.end());
    const CommandResult both = prewarm(all);
    EXPECT_EQ(both.exit_code, 2) << words.front();
    expect_contains(both.err, "excludes");
  }
  EXPECT_FALSE(fs::exists(cache()));
}

TEST_F(PrewarmFake, ctrl_c_leaves_whole_kernels_and_a_repeat_goes_on) {
  const CommandResult stopped = interrupted(SIGINT, 1, 2);
  EXPECT_EQ(stopped.exit_code, 130) << stopped.err;
  const std::size_t done = stored().size();
  EXPECT_GE(done, 2U);
  EXPECT_LT(done, 6U);
  expect_contains(stopped.err, fmt::format("stopped; {} of 6 kernels are done, nothing is half-written, and the same "
                                           "command goes on",
                                           done));
  for (const fs::directory_entry &entry : fs::recursive_directory_iterator(cache())) {
    expect_lacks(entry.path().filename().string(), ".tmp");
    expect_lacks(entry.path().filename().string(), ".lock");
  }
  expect_contains(run_sale({"cache", "verify", "--cache-dir", cache()}).out,
                  fmt::format("{} kernels checked, 0 damaged", done));
  const CommandResult again = prewarm({"--arch", "sm_80", "--model", "llama-3.1-8b"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  expect_contains(again.out, fmt::format("{} compiled, {} from the cache", 6 - done, done));
}

TEST_F(PrewarmFake, a_request_to_terminate_is_heeded_alike) {
  const CommandResult stopped = interrupted(SIGTERM, 1, 1);
  EXPECT_EQ(stopped.exit_code, 143) << stopped.err;
  expect_contains(stopped.err, " of 6 kernels are done, nothing is half-written");
}

TEST_F(PrewarmFake, a_second_ctrl_c_does_not_wait) {
  const CommandResult killed = interrupted(SIGINT, 2, 1, FAKE_NVRTC_NEWER, "1000");
  EXPECT_EQ(killed.exit_code, 128 + SIGINT);
  expect_lacks(killed.err, "stopped");
  expect_contains(run_sale({"cache", "verify", "--cache-dir", cache()}).out, " kernels checked, 0 damaged");
}

TEST_F(PrewarmFake, as_a_frozen_engine_advises_it_adds_what_was_missing) { expect_good_advice(""); }

TEST_F(PrewarmFake, as_a_frozen_engine_advises_it_adds_ptx_for_a_newer_gpu) {
  expect_good_advice("sm_80");
  for (const StoredFile &file : stored()) {
    EXPECT_EQ(file.entry->target, "compute_80");
  }
}

TEST_F(PrewarmFake, ptx_goes_into_manifests_as_its_own_target) {
  const std::string manifest = file("needs.yaml");
  EXPECT_EQ(prewarm({"--arch", "sm_80,compute_80", "--model", "qwen3-8b", "--write-manifest", manifest}).exit_code, 0);
  EXPECT_EQ(stored().size(), 12U);
  expect_contains(read_file(manifest), "arch: compute_80, key: ");
  EXPECT_EQ(prewarm({"--manifest", manifest, "--check"}, "/nonexistent").exit_code, 0);
  expect_contains(prewarm({"--manifest", manifest, "--arch", "compute_80", "--dry-run"}).out, "6 kernels are needed");
}

TEST_F(PrewarmFake, cannot_fill_a_cache_that_is_frozen) {
  environment_["SALE_FROZEN"] = "1";
  const CommandResult result = prewarm({"--arch", "sm_80", "--model", "llama-3.1-8b"});
  EXPECT_EQ(result.exit_code, 1);
  expect_contains(result.err,
                  "nothing is compiled (frozen); compile it where SALE_FROZEN and Options.frozen are not set");
}

TEST_F(PrewarmFake, a_kernel_that_takes_too_long_fails) {
  environment_["FAKE_NVRTC_MS"] = "2000";
  const CommandResult result = prewarm({"--arch", "sm_80", "--model", "llama-3.1-8b", "--deadline", "0.05"});
  EXPECT_EQ(result.exit_code, 1);
  expect_contains(result.err, "0.05");
  EXPECT_TRUE(stored().empty());
}

/// With a compiler of this machine.
class Prewarm : public testing::Test {
protected:
  void SetUp() override {
    if (!has_nvrtc()) {
      GTEST_SKIP() << "no NVRTC on this machine";
    }
  }
  CommandResult prewarm(const std::string &model_option, const std::string &model,
                        const std::string &serving = "plain") const {
    return run_sale({"prewarm", "--arch", "sm_80", model_option, model, "--serving", serving, "--cache-dir", cache()});
  }
  std::string cache() const { return (folder_.path() / "cache").string(); }

  TemporaryFolder folder_;
};

TEST_F(Prewarm, the_second_time_everything_is_a_hit) {
  const CommandResult first = prewarm("--model", "smollm2-135m");
  EXPECT_EQ(first.exit_code, 0) << first.err;
  expect_contains(first.out, "0 from the cache");
  for (const char *word : {"kernel", "registers", "spills", "smem", "cubin bytes", "ms", "attend sm_80", "compiled"}) {
    expect_contains(first.out, word);
  }
  expect_contains(first.err, "[1/");
  const CommandResult second = prewarm("--model", "smollm2-135m");
  expect_contains(second.out, "0 compiled");

  using std::filesystem::perms;
  EXPECT_EQ(std::filesystem::status(cache()).permissions(), perms::owner_all);

  // A config.json of the same shape needs the same kernels.
  const std::string config = folder_.path() / "config.json";
  write_file(config, R"({"hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3})");
  expect_contains(prewarm("--model", config).out, "0 compiled");
  expect_contains(prewarm("--model", folder_.path()).out, "0 compiled");
}

TEST_F(Prewarm, compiles_for_every_way_of_serving_that_is_named) {
  const std::string problem = folder_.path() / "problem.yaml";
  write_file(problem, "dtype: f16\nhead_dim: 64\nnum_q_heads: 1\nnum_kv_heads: 1\n");
  const CommandResult result = prewarm("--problem", problem, "plain,paged:64");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char *kernel : {"select sm_80", "sequences sm_80", "ragged paged32"}) {
    expect_contains(result.out, kernel);
  }
}

TEST_F(Prewarm, a_damaged_kernel_is_compiled_again) {
  const std::string problem = folder_.path() / "problem.yaml";
  write_file(problem, "dtype: f16\nhead_dim: 64\nnum_q_heads: 1\nnum_kv_heads: 1\n");
  EXPECT_EQ(prewarm("--problem", problem).exit_code, 0);
  std::filesystem::resize_file(Store({.root = cache()}, [](const std::string &) {}).list().front().path, 40);
  const CommandResult again = prewarm("--problem", problem);
  EXPECT_EQ(again.exit_code, 0) << again.err;
  expect_contains(again.out, "1 compiled");
  EXPECT_EQ(run_sale({"cache", "verify", "--cache-dir", cache()}).exit_code, 0);
}

} // namespace
} // namespace sale::cli_test
