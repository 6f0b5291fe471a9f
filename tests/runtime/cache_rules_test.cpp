// SPDX-License-Identifier: Apache-2.0
// Which kernels a factory takes from where: layers, frozen, several compilers, several Engines at once.
#include "cache/build_lock.hpp"
#include "core/parallel_for.hpp"
#include "generator/generate.hpp"
#include "runtime/kernel_factory.hpp"
#include "tests/runtime/fakes.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <optional>
#include <thread>

namespace sale {
namespace {

namespace fs = std::filesystem;

class CacheRules : public FakeMachine {
protected:
  static std::vector<KernelRequest> requests() {
    std::vector<KernelRequest> all;
    for (const KernelSpec &spec : plan_kernels({}, {}, {9, 0})) {
      all.push_back({spec, BinaryKind::cubin});
    }
    return all;
  }
  static CacheCounters build(const Options &options) {
    const KernelFactory factory(options);
    factory.build(requests());
    return factory.counters();
  }
  Options with_nvrtc(const fs::path &nvrtc) {
    Options with = options();
    with.nvrtc = nvrtc;
    return with;
  }
  Options frozen() {
    Options with = options();
    with.frozen = true;
    return with;
  }
  /// An installation of a compiler in a folder of its own.
  fs::path install(const fs::path &nvrtc, const std::string &name) {
    const fs::path folder = folder_.path() / name;
    fs::remove_all(folder);
    fs::copy(nvrtc.parent_path(), folder);
    return folder;
  }
  std::size_t kernel_files() const {
    const fs::directory_iterator files(folder_.path() / "cache/kernels");
    return static_cast<std::size_t>(std::distance(begin(files), end(files)));
  }
};

TEST_F(CacheRules, CountsWhatBecameOfEveryKernel) {
  const KernelFactory factory(options());
  factory.build(requests());
  CacheCounters counters = factory.counters();
  EXPECT_EQ(counters.misses, 6U);
  EXPECT_EQ(counters.compiles, 6U);
  EXPECT_EQ(counters.published, 6U);
  EXPECT_EQ(counters.memory_hits, 0U);
  factory.build(requests());
  counters = factory.counters();
  EXPECT_EQ(counters.memory_hits, 6U);
  EXPECT_EQ(counters.misses, 6U);
  counters = build(options());
  EXPECT_EQ(counters.user_hits, 6U);
  EXPECT_EQ(counters.misses, 0U);
  EXPECT_EQ(counters.compiles, 0U);
  EXPECT_EQ(counters.lock_waits, 0U);
}

TEST_F(CacheRules, CountsForEachEngineWhatItsPlansAskedFor) {
  const Engine engine(0, options());
  EXPECT_EQ(engine.cache_counters().misses, 0U);
  engine.prepare({}, {});
  EXPECT_EQ(engine.cache_counters().compiles, 6U);
  engine.prepare({}, {});
  EXPECT_EQ(engine.cache_counters().memory_hits, 6U);
}

TEST_F(CacheRules, ServesFromMemoryWhateverBecomesOfTheFolder) {
  const KernelFactory factory(options());
  const auto first = factory.build(requests());
  fs::remove_all(folder_.path() / "cache");
  const auto second = factory.build(requests());
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].entry, second[i].entry);
    EXPECT_TRUE(second[i].info.from_cache);
    EXPECT_EQ(second[i].info.name, first[i].info.name);
  }
}

TEST_F(CacheRules, TouchesNoFileBeforeAKernelIsAskedFor) {
  Options with = options();
  with.cache_dir = folder_.path() / "file";
  std::ofstream(with.cache_dir) << "no folder";
  const Engine engine(0, with);
  EXPECT_EQ(engine.cache_counters().disk_errors, 0U);
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(CacheRules, ReadsTheSystemsFolderBeforeTheUsers) {
  build(options());
  Options with = options();
  with.system_cache_dir = with.cache_dir;
  with.cache_dir = folder_.path() / "mine";
  with.nvrtc = "/nonexistent";
  const CacheCounters counters = build(with);
  EXPECT_EQ(counters.system_hits, 6U);
  EXPECT_EQ(counters.user_hits, 0U);
  EXPECT_FALSE(fs::exists(with.cache_dir));
}

TEST_F(CacheRules, TakesTheSystemsFolderFromTheEnvironment) {
  build(options());
  const SetVariable system("SALE_SYSTEM_CACHE_DIR", folder_.path() / "cache");
  Options with = options();
  with.system_cache_dir.clear();
  with.cache_dir = folder_.path() / "mine";
  EXPECT_EQ(build(with).system_hits, 6U);
}

TEST_F(CacheRules, CompilesWhatTheSystemsFolderLacksIntoTheUsers) {
  Options with = options();
  with.system_cache_dir = folder_.path() / "system";
  EXPECT_EQ(build(with).published, 6U);
  EXPECT_FALSE(fs::exists(with.system_cache_dir));
}

TEST_F(CacheRules, WarnsOnceWhereNoFolderIsTheUsers) {
  const std::string home = std::getenv("HOME") != nullptr ? std::getenv("HOME") : "/";
  ::unsetenv("HOME");
  Options with = options();
  with.cache_dir.clear();
  const KernelFactory factory(with);
  factory.build(requests());
  ::setenv("HOME", home.c_str(), 1);
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_EQ(warnings_[0], "compiled kernels are not kept: neither SALE_CACHE_DIR, XDG_CACHE_HOME nor HOME is set");
}

TEST_F(CacheRules, KeepsTheUsersFolderWithinItsLimits) {
  Options with = options();
  with.cache_max_files = 4;
  with.jobs = 1; // two that exceed a limit at once leave it to one of them
  EXPECT_GE(build(with).evictions, 2U);
  EXPECT_LE(kernel_files(), 4U);
}

TEST_F(CacheRules, LeavesItsCountersInTheUsersFolder) {
  build(options());
  { // Of which the store itself knows nothing.
    const Engine engine(0, options());
    engine.prepare({}, {});
    engine.prepare({}, {});
  }
  const CacheCounters history = Store({.root = options().cache_dir}, {}).history();
  EXPECT_EQ(history.compiles, 6U + 6U); // sm_90, then sm_90a
  EXPECT_EQ(history.memory_hits, 6U);
  EXPECT_EQ(history.published, 12U);
}

TEST_F(CacheRules, FrozenServesWhatIsThere) {
  build(options());
  const CacheCounters counters = build(frozen());
  EXPECT_EQ(counters.user_hits, 6U);
  EXPECT_EQ(counters.misses, 0U);
}

TEST_F(CacheRules, FrozenCompilesNothingAndSaysWhatIsMissing) {
  const int compiles = fake_compiles();
  const KernelFactory factory(frozen());
  const KernelRequest request = requests()[5];
  const Error error = error_of([&] { factory.build({request}, [] { return std::string("run this"); }); });
  EXPECT_EQ(error.kind(), ErrorKind::not_cached);
  EXPECT_EQ(error.what(), "kernel \"" + request.spec.describe() +
                              "\" is in no layer of the kernel cache, and nothing is compiled (frozen); run this");
  EXPECT_EQ(error.details().spec, request.spec.describe());
  EXPECT_EQ(fake_compiles(), compiles);
  EXPECT_EQ(factory.counters().misses, 1U);
  EXPECT_FALSE(fs::exists(folder_.path() / "cache"));
}

TEST_F(CacheRules, FrozenByTheEnvironment) {
  {
    const SetVariable off("SALE_FROZEN", "0");
    EXPECT_EQ(build(options()).compiles, 6U);
  }
  fs::remove_all(folder_.path() / "cache");
  const SetVariable on("SALE_FROZEN", "1");
  EXPECT_EQ(error_of([&] { build(options()); }).kind(), ErrorKind::not_cached);
}

TEST_F(CacheRules, FrozenTakesAnyCompilersKernelsWhateverCompilerIsThere) {
  build(with_nvrtc(FAKE_NVRTC_NEWER));
  EXPECT_EQ(build(frozen()).user_hits, 6U);
  EXPECT_EQ(build(options()).user_hits, 0U);
}

TEST_F(CacheRules, KeepsTheKernelsOfSeveralCompilersApart) {
  const KernelFactory one(with_nvrtc(FAKE_NVRTC));
  const KernelFactory other(with_nvrtc(FAKE_NVRTC_NEWER));
  EXPECT_EQ(one.build(requests())[0].entry->compiler_version, "13.0");
  EXPECT_EQ(other.build(requests())[0].entry->compiler_version, "13.1");
  EXPECT_EQ(kernel_files(), 12U);
  EXPECT_EQ(build(with_nvrtc(FAKE_NVRTC)).user_hits, 6U);
  EXPECT_EQ(build(with_nvrtc(FAKE_NVRTC_NEWER)).user_hits, 6U);
}

TEST_F(CacheRules, TakesTheNewestCompilersKernelWhereThereIsNoCompiler) {
  build(with_nvrtc(FAKE_NVRTC_NEWER));
  build(with_nvrtc(FAKE_NVRTC));
  const KernelFactory none(with_nvrtc("/nonexistent"));
  EXPECT_EQ(none.build(requests())[0].entry->compiler_version, "13.1");
}

TEST_F(CacheRules, CompilesAnewWhenALinkLeadsToAnotherCompiler) {
  const fs::path link = folder_.path() / "cuda";
  fs::create_directory_symlink(install(FAKE_NVRTC, "cuda-13.0"), link);
  EXPECT_EQ(build(with_nvrtc(link)).compiles, 6U);
  fs::remove(link);
  fs::create_directory_symlink(install(FAKE_NVRTC_NEWER, "cuda-13.1"), link);
  const KernelFactory upgraded(with_nvrtc(link));
  EXPECT_EQ(upgraded.build(requests())[0].entry->compiler_version, "13.1");
  EXPECT_EQ(upgraded.counters().compiles, 6U);
}

TEST_F(CacheRules, TakesNoCompilerForAnotherThatReplacedItsFileSinceItWasLoaded) {
  const fs::path nvrtc = install(FAKE_NVRTC, "cuda");
  build(with_nvrtc(nvrtc));
  // The same version, another build.
  fs::remove(nvrtc / "libnvrtc.so.13");
  fs::copy(FAKE_NVRTC_MISMATCHED, nvrtc / "libnvrtc.so.13");
  const Error error = error_of([&] { build(with_nvrtc(nvrtc)); });
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  EXPECT_NE(std::string(error.what()).find("this process loaded it before the file was replaced"), std::string::npos);
  EXPECT_EQ(kernel_files(), 6U);
}

TEST_F(CacheRules, SharesKernelsBetweenInstallationsOfOneCompiler) {
  EXPECT_EQ(build(with_nvrtc(install(FAKE_NVRTC, "here"))).compiles, 6U);
  const CacheCounters counters = build(with_nvrtc(install(FAKE_NVRTC, "there")));
  EXPECT_EQ(counters.user_hits, 6U);
  EXPECT_EQ(counters.compiles, 0U);
}

TEST_F(CacheRules, CompilesAKernelOnceForThreadsOfSeveralEngines) {
  fake_compiles_take(20);
  const int compiles = fake_compiles();
  const KernelFactory one(options());
  const KernelFactory other(options());
  const auto build_all = [&](std::int64_t i) { (i % 2 == 0 ? one : other).build(requests()); };
  parallel_for(6, build_all, 6);
  EXPECT_EQ(fake_compiles(), compiles + 6);
  EXPECT_EQ(one.counters().compiles + other.counters().compiles, 6U);
  EXPECT_EQ(kernel_files(), 6U);
}

TEST_F(CacheRules, UsesItsOwnBytesWhenAnotherPublishesTheSameKernel) {
  fake_compiles_take(20);
  Options with = options();
  with.lock_seconds = 0;
  with.compile_seconds = 100; // so that threads do not share what they compile
  const KernelFactory one(with);
  with.compile_seconds = 200;
  const KernelFactory other(with);
  std::vector<BuiltKernel> built[2];
  parallel_for(2, [&](std::int64_t i) { built[i] = (i == 0 ? one : other).build({requests()[0]}); }, 2);
  EXPECT_EQ(built[0][0].entry->binary, built[1][0].entry->binary);
  EXPECT_NE(built[0][0].entry, built[1][0].entry);
  EXPECT_EQ(kernel_files(), 1U);
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(CacheRules, ServesEnginesOfSeveralGpusFromOneFolder) {
  fake_cuda().device_count = 2;
  const Engine engines[] = {Engine(0, options()), Engine(1, options())};
  const int compiles = fake_compiles();
  std::vector<Plan> plans;
  for (const Engine &engine : engines) {
    plans.push_back(engine.prepare({}, {}));
  }
  EXPECT_EQ(fake_compiles(), compiles + 6);
  EXPECT_EQ(engines[1].cache_counters().user_hits, 6U);
  EXPECT_EQ(fake_cuda().live_modules, 12);
}

/// A process that compiles `request`, as others see it.
class OtherProcess {
public:
  OtherProcess(const fs::path &cache, const std::string &key, const CompilerId &compiler)
      : store_({.root = cache}, {}), lock_(BuildLock::acquire(store_.lock_path(key, compiler), {})) {}
  void finish(const Entry &entry) {
    store_.publish(entry);
    lock_.reset();
  }

private:
  Store store_;
  std::optional<BuildLock> lock_;
};

class CacheRulesWithAnother : public CacheRules {
protected:
  CacheRulesWithAnother() {
    Options with = options();
    with.cache_dir = folder_.path() / "elsewhere";
    entry_ = *KernelFactory(with).build({request_})[0].entry;
    other_.emplace(options().cache_dir, entry_.key, CompilerId{entry_.compiler_version, entry_.compiler_build});
  }
  KernelRequest request_ = requests()[0];
  Entry entry_;
  std::optional<OtherProcess> other_;
};

TEST_F(CacheRulesWithAnother, TakesWhatAnotherProcessCompilesMeanwhile) {
  const KernelFactory factory(options());
  std::thread builder([&] { EXPECT_TRUE(factory.build({request_})[0].info.from_cache); });
  while (factory.counters().misses == 0) {
    std::this_thread::yield();
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  other_->finish(entry_);
  builder.join();
  EXPECT_EQ(factory.counters().compiles, 0U);
  EXPECT_EQ(factory.counters().misses, 1U);
  EXPECT_EQ(factory.counters().lock_timeouts, 0U);
}

TEST_F(CacheRulesWithAnother, CompilesWhenItHasWaitedLongEnough) {
  Options with = options();
  with.lock_seconds = 0.05;
  const KernelFactory factory(with);
  EXPECT_FALSE(factory.build({request_})[0].info.from_cache);
  const CacheCounters counters = factory.counters();
  EXPECT_EQ(counters.lock_waits, 1U);
  EXPECT_EQ(counters.lock_timeouts, 1U);
  EXPECT_EQ(counters.compiles, 1U);
}

TEST_F(CacheRulesWithAnother, DoesNotWaitWhenToldNotTo) {
  Options with = options();
  with.lock_seconds = 0;
  const KernelFactory factory(with);
  factory.build({request_});
  EXPECT_EQ(factory.counters().lock_waits, 0U);
  EXPECT_EQ(factory.counters().compiles, 1U);
}

TEST_F(CacheRulesWithAnother, StopsWaitingWhenCancelled) {
  Options with = options();
  const KernelFactory *waiting = nullptr;
  with.cancelled = [&] { return waiting != nullptr && waiting->counters().misses > 0; };
  const KernelFactory factory(with);
  waiting = &factory;
  EXPECT_EQ(error_of([&] { factory.build({request_}); }).kind(), ErrorKind::cancelled);
  EXPECT_EQ(factory.counters().compiles, 0U);
}

} // namespace
} // namespace sale
