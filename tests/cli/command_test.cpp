// SPDX-License-Identifier: Apache-2.0
#include "cache/store.hpp"
#include "tests/cache/sample_entry.hpp"
#include "tests/cli/command_line.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <regex>

namespace sale::cli_test {
namespace {

using Json = nlohmann::json;

void expect_contains(const std::string &text, const std::string &part) {
  EXPECT_NE(text.find(part), std::string::npos) << "\"" << part << "\" is not in:\n" << text;
}

void expect_matches(const std::string &text, const std::string &pattern) {
  EXPECT_TRUE(std::regex_search(text, std::regex(pattern))) << text;
}

TEST(Help, is_there_for_every_subcommand) {
  EXPECT_EQ(run_sale({"--help"}).exit_code, 0);
  EXPECT_EQ(run_sale({"--version"}).exit_code, 0);
  for (const char *command : {"info", "generate", "prewarm", "run", "bench", "cache"}) {
    const CommandResult result = run_sale({command, "--help"});
    EXPECT_EQ(result.exit_code, 0) << command;
    expect_contains(result.out, "--help");
  }
}

TEST(Info, says_what_is_there_and_what_is_supported) {
  const CommandResult text = run_sale({"info"});
  EXPECT_EQ(text.exit_code, 0);
  for (const char *word : {"sale", "GPU", "NVRTC", "cache", "archs", "sm_90", "head_dims", "llama-3.1-8b"}) {
    expect_contains(text.out, word);
  }
  const Json json = Json::parse(run_sale({"info", "--json"}).out);
  EXPECT_TRUE(json["supported"]["archs"].contains("sm_80"));
  EXPECT_EQ(json["supported"]["dtypes"], (Json{"bf16", "f16"}));
  EXPECT_EQ(json["supported"]["head_dims"], (Json{64, 96, 128, 192, 256}));
  EXPECT_EQ(json["supported"]["estimators"], (Json{"exact", "int8", "int4", "fp8"}));
  EXPECT_EQ(json["supported"]["block_k"], (Json{32, 64, 128}));
  EXPECT_TRUE(json["driver"]["devices"].is_array());
}

TEST(Info, without_driver_and_compiler_gives_the_reasons) {
  const TemporaryFolder folder;
  const std::string nothing = folder.path() / "nothing.so";
  const Json json = Json::parse(run_sale({"info", "--json", "--nvrtc", nothing, "--cuda-driver", nothing}).out);
  EXPECT_TRUE(json["nvrtc"].contains("problem"));
  EXPECT_TRUE(json["driver"].contains("problem"));
}

TEST(Info, a_name_that_is_not_utf_8_does_not_break_the_json) {
  const CommandResult result = run_sale({"info", "--json", "--cache-dir", "/none/caf\xe9"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(Json::parse(result.out)["cache"]["folder"], "/none/caf\xef\xbf\xbd");
}

TEST(Output, that_is_lost_is_a_failure) {
  const std::vector<std::vector<std::string>> commands = {
      {"info"}, {"info", "--json"}, {"--help"}, {"generate", "--stage", "attend"}, {"cache", "path"}};
  for (const auto &command : commands) {
    const CommandResult result = run_sale(command, {}, "/dev/full");
    EXPECT_EQ(result.exit_code, 1) << command[0];
    expect_contains(result.err, "standard output could not be written");
  }
}

TEST(Generate, prints_one_self_contained_kernel) {
  for (const char *stage : {"mean", "quantize", "prepare", "select", "attend"}) {
    const CommandResult result = run_sale(
        {"generate", "--stage", stage, "--arch", "sm_90", "--head-dim", "128", "--gqa", "4", "--dtype", "bf16"});
    EXPECT_EQ(result.exit_code, 0) << stage << ": " << result.err;
    expect_contains(result.out, std::string("sale_") + stage);
    expect_contains(result.out, "extern \"C\" __global__");
    EXPECT_EQ(result.out.find("#include"), std::string::npos) << stage;
  }
}

TEST(Generate, prints_the_kernels_of_every_policy) {
  const auto attend =
      run_sale({"generate", "--stage", "attend", "--arch", "sm_90a", "--fp8-attend", "--second-filter"});
  EXPECT_EQ(attend.exit_code, 0) << attend.err;
  expect_contains(attend.out, "bool fp8 = true;");
  expect_contains(attend.out, "bool filtered = true;");
  const auto select = run_sale({"generate", "--stage", "select", "--arch", "sm_90a", "--estimator", "fp8",
                                "--estimate-dim", "64", "--prune-queries"});
  EXPECT_EQ(select.exit_code, 0) << select.err;
  expect_contains(select.out, "estimate_dim = 64;");
  expect_contains(select.out, "bool pruned = true;");
}

TEST(Generate, writes_to_a_file) {
  const TemporaryFolder folder;
  const std::string file = folder.path() / "attend.cu";
  const CommandResult result = run_sale({"generate", "--stage", "attend", "-o", file});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(read_file(file), run_sale({"generate", "--stage", "attend"}).out);
}

TEST(Cache, path_prefers_the_option_then_the_variable_then_the_home) {
  EXPECT_EQ(run_sale({"cache", "path", "--cache-dir", "/a"}, {{"SALE_CACHE_DIR", "/b"}}).out, "/a\n");
  EXPECT_EQ(run_sale({"cache", "path"}, {{"SALE_CACHE_DIR", "/b"}, {"XDG_CACHE_HOME", "/c"}}).out, "/b\n");
  EXPECT_EQ(run_sale({"cache", "path"}, {{"SALE_CACHE_DIR", ""}, {"XDG_CACHE_HOME", "/c"}}).out, "/c/sale\n");
}

TEST(Cache, list_verify_and_clear_see_the_same_files) {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "cache";
  const Store store({.root = path}, [](const std::string &) {});
  store.publish(sample_entry(std::string(64, 'a')));
  store.publish(sample_entry(std::string(64, 'b')));

  const CommandResult list = run_sale({"cache", "list", "--cache-dir", path});
  EXPECT_EQ(list.exit_code, 0);
  expect_contains(list.out, "attend sm_90 bf16 d128");
  expect_contains(list.out, "2 kernels");
  const CommandResult good = run_sale({"cache", "verify", "--cache-dir", path});
  EXPECT_EQ(good.exit_code, 0);
  expect_contains(good.out, "2 kernels checked, 0 damaged");

  std::filesystem::resize_file(store.list().front().path, 40);
  const CommandResult damaged = run_sale({"cache", "verify", "--cache-dir", path});
  EXPECT_EQ(damaged.exit_code, 3);
  expect_contains(damaged.out, "2 kernels checked, 1 damaged");

  const CommandResult clear = run_sale({"cache", "clear", "--cache-dir", path});
  EXPECT_EQ(clear.exit_code, 0);
  expect_contains(clear.out, "removed 2 files");
  expect_contains(run_sale({"cache", "list", "--cache-dir", path}).out, "0 kernels");
}

TEST(Cache, stats_shows_what_is_there_and_what_was_asked_for) {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "cache";
  {
    const Store store({.root = path}, [](const std::string &) {});
    store.publish(sample_entry());
    store.lookup(sample_entry().key, std::nullopt);
    store.lookup("another", std::nullopt);
  }
  for (int again = 0; again < 2; ++again) {
    const CommandResult stats = run_sale({"cache", "stats", "--cache-dir", path});
    EXPECT_EQ(stats.exit_code, 0) << stats.err;
    expect_matches(stats.out, "files +1 of at most 16384");
    expect_matches(stats.out, "bytes .* of at most 1.0 GiB");
    expect_matches(stats.out, "user hits +1\n");
    expect_matches(stats.out, "misses +1\n");
    expect_matches(stats.out, "published +1\n");
    expect_matches(stats.out, "evictions +0\n");
  }
}

TEST(Cache, gc_keeps_the_limits_that_it_is_given) {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "cache";
  const Store store({.root = path}, [](const std::string &) {});
  for (const char letter : {'a', 'b', 'c'}) {
    store.publish(sample_entry(std::string(64, letter)));
  }
  const auto gc = [&](const std::string &option, const std::string &value) {
    return run_sale({"cache", "gc", "--cache-dir", path, option, value}).out;
  };
  expect_contains(gc("--max-files", "3"), "removed 0 kernels");
  expect_contains(gc("--max-files", "2"), "removed 1 kernels");
  expect_contains(gc("--max-bytes", "1MiB"), "removed 0 kernels");
  expect_contains(gc("--max-bytes", "1kb"), "removed 1 kernels");
  expect_contains(gc("--max-bytes", "0"), "1 kernels");
}

TEST(Cache, one_that_is_not_there_is_said_to_be_absent_and_not_made) {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "cache";
  for (const char *action : {"list", "stats", "verify", "gc", "clear"}) {
    const CommandResult result = run_sale({"cache", action, "--cache-dir", path});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.out, "there is no cache at " + path + "\n");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

} // namespace
} // namespace sale::cli_test
