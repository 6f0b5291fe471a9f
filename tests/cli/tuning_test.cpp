// SPDX-License-Identifier: Apache-2.0
// From a tuning record to calls on another host: prewarm, pack, unpack, and an Engine that may compile nothing.
#include "autotune/record/record.hpp"
#include "generator/generate.hpp"
#include "sale/tuning.hpp"
#include "tests/cli/command_line.hpp"
#include "tests/runtime/plan_fixture.hpp"

#include <gtest/gtest.h>

#include <set>

namespace sale::cli_test {
namespace {

Tile tile(int rows_per_warp, int warps, int keys, int stages) {
  return {.rows_per_warp = rows_per_warp, .warps = warps, .keys_per_step = keys, .stages = stages, .min_ctas = 1};
}

class Tuning : public PlanTest {
protected:
  // For two GPUs, of which the fake is one: other tiles up to 1024 tokens and a quarter of the blocks, and above that.
  Tuning() {
    arch_ = "sm_90a";
    for (const char *name : {"Fake GPU", "Other GPU"}) {
      record_.gpus.push_back({name, parse_arch(arch_), 132, {{"driver", "13.0"}}, {}});
    }
    for (const KernelSpec &spec : specs()) {
      if (is_tunable(spec.stage)) {
        record_.gpus[0].kernels.push_back({spec.class_name(), choices(spec)});
      }
    }
    const KernelSpec attend = specs().back();
    record_.gpus[1].kernels.push_back({attend.class_name(), {{.tile = tile(16, 12, 32, 3), .facts = {}}}});
    write_file(file("record.yaml"), autotune::record_text(record_));
  }

  std::vector<KernelSpec> specs() const { return plan_kernels(Problem(), Policy(), parse_arch(arch_)); }

  static std::vector<Tile> tiles_of(const KernelSpec &spec) {
    switch (spec.stage) {
    case Stage::prepare: return {tile(16, 4, 32, 2), tile(16, 8, 32, 3), tile(16, 4, 32, 4)};
    case Stage::select: return {tile(16, 8, 128, 3), tile(32, 8, 128, 2), tile(16, 16, 128, 4)};
    default: return {tile(16, 8, 64, 3), tile(16, 8, 96, 2), tile(16, 8, 32, 4)};
    }
  }
  static std::vector<TileChoice> choices(const KernelSpec &spec) {
    const std::vector<Tile> tiles = tiles_of(spec);
    return {{.up_to_tokens = 1024, .up_to_density = 0.25F, .tile = tiles[0], .facts = {}},
            {.up_to_tokens = 1024, .tile = tiles[1], .facts = {}},
            {.up_to_tokens = 8192, .tile = tiles[2], .facts = {}},
            {.tile = spec.tile, .facts = {}}};
  }

  CommandResult sale(std::vector<std::string> arguments, const std::string &cache) const {
    return run_sale(arguments, {{"SALE_CACHE_DIR", file(cache)},
                                {"SALE_SYSTEM_CACHE_DIR", file("none")},
                                {"SALE_TUNING", ""},
                                {"SALE_TUNING_DIR", file("tuning")}});
  }
  // The record is in the user's folder, and no option names it.
  CommandResult prewarm_by_layers(const std::vector<std::string> &more) const {
    std::vector<std::string> arguments = {"prewarm", "--nvrtc", FAKE_NVRTC};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return sale(arguments, "here");
  }
  void put_into_layers(const TuningRecord &record) const {
    std::filesystem::create_directories(file("tuning"));
    write_file(file("tuning") + "/a.yaml", autotune::record_text(record));
  }
  std::shared_ptr<const TuningRecord> layers() {
    TuningLayers only_user;
    only_user.shipped = false;
    only_user.system_dir = file("none");
    only_user.user_dir = file("tuning");
    only_user.warning = [this](const std::string &sentence) { warnings_.push_back(sentence); };
    return load_tuning_layers(only_user);
  }
  CommandResult prewarm(std::vector<std::string> more) const {
    std::vector<std::string> arguments = {
        "prewarm",    "--arch", arch_,     "--heads",  "32",       "--kv-heads",       "8",
        "--head-dim", "128",    "--nvrtc", FAKE_NVRTC, "--tuning", file("record.yaml")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return sale(arguments, "here");
  }

  std::string file(const std::string &name) const { return (folder_.path() / name).string(); }

  // The kernel that a stage launched, by what tells its tiles apart.
  void expect_launched(const char *entry, KernelSpec spec, const Tile &expected) {
    spec.tile = expected;
    const FakeCall &call = launch(entry);
    EXPECT_EQ(call.threads, static_cast<unsigned>(spec.threads())) << spec.describe();
    EXPECT_EQ(call.shared, static_cast<unsigned>(spec.shared_memory())) << spec.describe();
  }

  TuningRecord record_ = empty_record();
};

TEST_F(Tuning, ReachesAHostThatCompilesNothing) {
  const CommandResult filled = prewarm({"--gpu", "Fake GPU"});
  ASSERT_EQ(filled.exit_code, 0) << filled.err;
  EXPECT_NE(filled.out.find("18 kernels"), std::string::npos) << filled.out; // 6, and 3 more of each of 4
  ASSERT_EQ(sale({"cache", "pack", file("kernels.pack")}, "here").exit_code, 0);
  const CommandResult unpacked = sale({"cache", "unpack", file("kernels.pack")}, "there");
  ASSERT_EQ(unpacked.exit_code, 0) << unpacked.err;

  Options with = options();
  with.cache_dir = file("there");
  with.nvrtc = "/nonexistent";
  with.frozen = true;
  with.tuning = load_tuning(file("record.yaml"));
  fake_cuda().wgmma_family = true;
  const Engine engine(0, with);
  const Plan plan = engine.prepare(Problem(), Policy());
  EXPECT_TRUE(warnings_.empty()) << warnings_.front();
  std::set<std::string> launched;
  for (int tokens = 256; tokens <= 1 << 17; tokens *= 2) {
    for (const float density : {0.0F, 0.01F, 0.1F, 0.25F, 0.26F, 0.5F, 1.0F}) {
      RunArgs args = args_for(plan, {1, 256, tokens});
      args.expected_density = density;
      enqueued(plan, args);
      const bool sparse = density > 0 && density <= 0.25F;
      const std::size_t bucket = tokens > 8192 ? 3 : tokens > 1024 ? 2 : sparse ? 0 : 1;
      for (const KernelSpec &spec : specs()) {
        if (is_tunable(spec.stage) && !spec.dense) {
          const Tile expected = choices(spec)[bucket].tile;
          expect_launched(spec.entry_name().c_str(), spec, expected);
          launched.insert(spec.entry_name() + std::to_string(launch(spec.entry_name()).shared));
        }
      }
      fake_cuda().calls.clear();
      plan.run_dense(args, stream_);
      expect_launched("sale_attend", specs().back(), choices(specs().back())[bucket == 0 ? 1 : bucket].tile);
    }
  }
  EXPECT_EQ(launched.size(), 3U * 4U) << "every kernel was launched, and the test tells them apart";
  const CacheCounters counters = engine.cache_counters();
  EXPECT_EQ(counters.misses, 0U);
  EXPECT_EQ(counters.compiles, 0U);
  EXPECT_EQ(counters.user_hits, 18U);
}

TEST_F(Tuning, OfAnyGpuIsEveryKernelThatOneOfThemCanChoose) {
  const CommandResult any = prewarm({"--dry-run"});
  EXPECT_EQ(any.exit_code, 0) << any.err;
  EXPECT_NE(any.out.find("19 kernels are needed"), std::string::npos) << any.out;
  EXPECT_NE(prewarm({"--dry-run", "--gpu", "Other GPU"}).out.find("7 kernels are needed"), std::string::npos);
  const CommandResult none = prewarm({"--dry-run", "--gpu", "A GPU"});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_NE(none.err.find("has nothing for A GPU and the architectures asked for; it has Fake GPU (sm_90a), Other GPU "
                          "(sm_90a)"),
            std::string::npos)
      << none.err;
}

TEST_F(Tuning, OfAnotherLibraryIsRefusedWhereItIsAskedFor) {
  record_.templates = "0000000000000000";
  write_file(file("record.yaml"), autotune::record_text(record_));
  const CommandResult result = prewarm({"--dry-run"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("was measured with other kernels"), std::string::npos) << result.err;
}

TEST_F(Tuning, IsInTheAdviceOfAFrozenEngine) {
  Options with = options();
  with.frozen = true;
  with.tuning = load_tuning(file("record.yaml"));
  const Engine engine(0, with);
  const Error error = error_of([&] { engine.prepare(Problem(), Policy()); });
  EXPECT_EQ(error.kind(), ErrorKind::not_cached);
  EXPECT_NE(std::string(error.what()).find(" --tuning '" + file("record.yaml") + "' --gpu 'Fake GPU'`"),
            std::string::npos)
      << error.what();
}

const std::vector<std::string> shape = {"--arch", "sm_90a", "--heads", "32", "--kv-heads", "8", "--head-dim", "128"};

std::vector<std::string> with(std::vector<std::string> words, const std::vector<std::string> &more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// As a shell does it, for words without other quotes than these.
std::vector<std::string> words_of(const std::string &command) {
  std::vector<std::string> words = {""};
  bool quoted = false;
  for (const char c : command) {
    if (c == '\'') {
      quoted = !quoted;
    } else if (c == ' ' && !quoted) {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

TEST_F(Tuning, OfTheLayersIsWhatPrewarmTakesByDefault) {
  const auto needed = [&](const std::vector<std::string> &more) {
    const CommandResult result = prewarm_by_layers(with(with(shape, {"--dry-run"}), more));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return result.out.substr(result.out.rfind('\n', result.out.size() - 2) + 1);
  };
  EXPECT_EQ(needed({"--gpu", "Fake GPU"}), "6 kernels are needed\n") << "there is no such folder yet";
  put_into_layers(record_);
  EXPECT_EQ(needed({"--gpu", "Fake GPU"}), "18 kernels are needed\n");
  EXPECT_EQ(needed({"--gpu", "A GPU"}), "6 kernels are needed\n") << "layers need not have every GPU";
  EXPECT_EQ(needed({"--tuning", "none"}), "6 kernels are needed\n");
}

TEST_F(Tuning, OfTheLayersGoesWithManifests) {
  put_into_layers(record_);
  const CommandResult written = prewarm_by_layers(with(shape, {"--dry-run", "--write-manifest", file("m.yaml")}));
  ASSERT_EQ(written.exit_code, 0) << written.err;
  EXPECT_EQ(prewarm_by_layers({"--manifest", file("m.yaml")}).exit_code, 0);
  const CommandResult none = prewarm_by_layers({"--manifest", file("m.yaml"), "--tuning", "none"});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_NE(none.err.find("or with other tuning records than --tuning none has here; write it anew with "
                          "--write-manifest"),
            std::string::npos)
      << none.err;
}

TEST_F(Tuning, OfTheLayersIsInAdviceThatAddsWhatIsMissing) {
  put_into_layers(record_);
  for (const bool tuned : {true, false}) {
    Options frozen = options();
    frozen.frozen = true;
    frozen.cache_dir = file(tuned ? "tuned" : "default");
    frozen.tuning = tuned ? layers() : nullptr;
    fake_cuda().wgmma_family = true;
    const Engine engine(0, frozen);
    const std::string advice = error_of([&] { engine.prepare(Problem(), Policy()); }).details().advice;
    EXPECT_NE(advice.find(tuned ? " --tuning layers --gpu 'Fake GPU'`" : " --tuning none`"), std::string::npos)
        << advice;
    const std::size_t begin = advice.find("`sale ") + 6;
    const std::string command = advice.substr(begin, advice.find('`', begin) - begin);
    const CommandResult filled = sale(with(words_of(command), {"--nvrtc", FAKE_NVRTC}), tuned ? "tuned" : "default");
    ASSERT_EQ(filled.exit_code, 0) << filled.err;
    EXPECT_NE(filled.out.find(tuned ? "18 kernels" : "6 kernels"), std::string::npos) << filled.out;
    EXPECT_NO_THROW(Engine(0, frozen).prepare(Problem(), Policy()));
  }
  EXPECT_TRUE(warnings_.empty()) << warnings_.front();
}

TEST_F(Tuning, OfTheLayersNeverFailsACall) {
  for (KernelTuning &kernel : record_.gpus[0].kernels) {
    if (kernel.kernel == specs().back().class_name()) {
      kernel.choices[0].tile.warps = 4096;
    }
  }
  put_into_layers(record_);
  Options with = options();
  with.tuning = layers();
  fake_cuda().wgmma_family = true;
  Engine(0, with).prepare(Problem(), Policy());
  ASSERT_FALSE(warnings_.empty());
  EXPECT_NE(warnings_.front().find("is impossible"), std::string::npos) << warnings_.front();
  EXPECT_NE(warnings_.front().find("; its default tile is used"), std::string::npos) << warnings_.front();
  with.tuning = load_tuning(file("tuning") + "/a.yaml");
  EXPECT_EQ(error_of([&] { Engine(0, with).prepare(Problem(), Policy()); }).kind(), ErrorKind::invalid_argument)
      << "a record that is named is refused";

  warnings_.clear();
  record_.gpus[0].name = "No such GPU";
  put_into_layers(record_);
  with.tuning = layers();
  Engine(0, with).prepare(Problem(), Policy());
  EXPECT_TRUE(warnings_.empty()) << warnings_.front();
}

} // namespace
} // namespace sale::cli_test
