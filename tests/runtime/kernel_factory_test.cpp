// SPDX-License-Identifier: Apache-2.0
#include "generator/generate.hpp"
#include "runtime/kernel_factory.hpp"
#include "tests/runtime/fakes.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <set>
#include <thread>

namespace sale {
namespace {

namespace fs = std::filesystem;

/// prewarm and the factory behind it, with the fake compiler and no driver.
class KernelFactoryTest : public FakeMachine {
protected:
  Options options() {
    Options options = FakeMachine::options();
    options.cuda_driver = "/nonexistent";
    return options;
  }
  static bool all_from_cache(const std::vector<KernelInfo> &infos) {
    return std::all_of(infos.begin(), infos.end(), [](const KernelInfo &info) { return info.from_cache; });
  }
  static bool none_from_cache(const std::vector<KernelInfo> &infos) {
    return std::none_of(infos.begin(), infos.end(), [](const KernelInfo &info) { return info.from_cache; });
  }
};

TEST_F(KernelFactoryTest, CompilesOnceAndThenReadsTheCache) {
  const auto cold = prewarm({"sm_90"}, {}, {}, options());
  EXPECT_EQ(cold.size(), 6U);
  EXPECT_TRUE(none_from_cache(cold));
  const int compiles = fake_compiles();
  const auto warm = prewarm({"sm_90"}, {}, {}, options());
  EXPECT_TRUE(all_from_cache(warm));
  EXPECT_EQ(fake_compiles(), compiles);
  for (std::size_t i = 0; i < cold.size(); ++i) {
    EXPECT_EQ(warm[i].key, cold[i].key);
    EXPECT_EQ(warm[i].name, cold[i].name);
    EXPECT_EQ(warm[i].registers, 40);
    EXPECT_EQ(warm[i].spill_bytes, 12);
    EXPECT_EQ(warm[i].shared_memory, cold[i].shared_memory);
    EXPECT_EQ(warm[i].binary_bytes, cold[i].binary_bytes);
  }
}

TEST_F(KernelFactoryTest, ReportsProgressOnceForEachKernel) {
  Options with = options();
  std::set<int> done;
  with.progress = [&](const KernelInfo &info, int count, int total) {
    EXPECT_FALSE(info.name.empty());
    EXPECT_EQ(total, 12);
    done.insert(count);
  };
  prewarm({"sm_80", "sm_90", "sm_80"}, {}, {}, with);
  EXPECT_EQ(done.size(), 12U);
  EXPECT_EQ(*done.rbegin(), 12);
}

TEST_F(KernelFactoryTest, CallsBackOneAtATime) {
  prewarm({"sm_80", "sm_90"}, {}, {}, options());
  for (const auto &file : fs::directory_iterator(folder_.path() / "cache/kernels")) {
    fs::resize_file(file.path(), fs::file_size(file.path()) - 1);
  }
  std::atomic<int> inside{0};
  std::atomic<int> calls{0};
  const auto call = [&] {
    ++calls;
    EXPECT_EQ(++inside, 1);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    --inside;
  };
  Options with = options();
  with.jobs = 6;
  with.log = [&](LogLevel, const std::string &) { call(); };
  with.progress = [&](const KernelInfo &, int, int) { call(); };
  const KernelFactory factory(with);
  const auto build = [&factory](Arch arch) {
    std::vector<KernelRequest> requests;
    for (const KernelSpec &spec : plan_kernels({}, {}, arch)) {
      requests.push_back({spec, BinaryKind::cubin});
    }
    factory.build(requests);
  };
  std::thread other([&] { build({8, 0}); });
  build({9, 0});
  other.join();
  EXPECT_EQ(calls, 24);
}

TEST_F(KernelFactoryTest, NeedsNoCompilerWhenEverythingIsCached) {
  prewarm({"sm_90"}, {}, {}, options());
  Options with = options();
  with.nvrtc = "/nonexistent";
  EXPECT_TRUE(all_from_cache(prewarm({"sm_90"}, {}, {}, with)));
}

TEST_F(KernelFactoryTest, SaysThatACompilerIsMissingWhenOneIsNeeded) {
  Options with = options();
  with.nvrtc = "/nonexistent";
  const Error error = error_of([&] { prewarm({"sm_90"}, {}, {}, with); });
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  EXPECT_NE(std::string(error.what()).find("pip install nvidia-cuda-nvrtc"), std::string::npos);
}

TEST_F(KernelFactoryTest, CompilesAgainWhatIsDamaged) {
  prewarm({"sm_90"}, {}, {}, options());
  for (const auto &file : fs::directory_iterator(folder_.path() / "cache/kernels")) {
    fs::resize_file(file.path(), fs::file_size(file.path()) - 1);
  }
  EXPECT_TRUE(none_from_cache(prewarm({"sm_90"}, {}, {}, options())));
  EXPECT_EQ(warnings_.size(), 6U);
  EXPECT_TRUE(all_from_cache(prewarm({"sm_90"}, {}, {}, options())));
}

TEST_F(KernelFactoryTest, WorksWithoutAUsableCacheFolder) {
  std::ofstream(folder_.path() / "cache") << "in the way";
  EXPECT_EQ(prewarm({"sm_90"}, {}, {}, options()).size(), 6U);
  EXPECT_EQ(warnings_.size(), 1U);
}

TEST_F(KernelFactoryTest, WritesNothingWhenTheDiskCacheIsOff) {
  Options with = options();
  with.use_disk_cache = false;
  prewarm({"sm_90"}, {}, {}, with);
  EXPECT_FALSE(fs::exists(folder_.path() / "cache"));
}

TEST_F(KernelFactoryTest, RefusesAnUnknownArchitectureBeforeItCompilesAnything) {
  const int compiles = fake_compiles();
  EXPECT_THROW(prewarm({"sm_90", "sm_75"}, {}, {}, options()), Error);
  EXPECT_EQ(fake_compiles(), compiles);
}

TEST_F(KernelFactoryTest, KeepsKernelsInMemoryForTheSameFactory) {
  Options with = options();
  with.use_disk_cache = false;
  const KernelFactory factory(with);
  const KernelRequest request{KernelSpec{.tile = default_tile({})}, BinaryKind::cubin};
  const auto first = factory.build({request});
  const auto second = factory.build({request});
  EXPECT_FALSE(first[0].info.from_cache);
  EXPECT_TRUE(second[0].info.from_cache);
  EXPECT_EQ(first[0].entry, second[0].entry);
}

TEST_F(KernelFactoryTest, GivesCubinAndPtxOfOneSpecDifferentKeys) {
  const KernelFactory factory(options());
  const KernelSpec spec{.tile = default_tile({})};
  const auto built = factory.build({{spec, BinaryKind::cubin}, {spec, BinaryKind::ptx}});
  EXPECT_NE(built[0].info.key, built[1].info.key);
  EXPECT_EQ(built[1].info.registers, 0);
}

TEST_F(KernelFactoryTest, NeedsNeitherCompilerNorCacheForSource) {
  Options with = options();
  with.nvrtc = "/nonexistent";
  const KernelSpec spec{.tile = default_tile({})};
  const auto built = KernelFactory(with).build({{spec, BinaryKind::source}});
  const std::vector<unsigned char> &binary = built[0].entry->binary;
  EXPECT_EQ(std::string(binary.begin(), binary.end()), generate(spec));
  EXPECT_EQ(built[0].entry->dynamic_shared_memory, spec.shared_memory());
  EXPECT_FALSE(fs::exists(folder_.path() / "cache"));
}

TEST_F(KernelFactoryTest, ServesSeveralThreadsAtOnce) {
  const KernelFactory factory(options());
  const KernelSpec spec{.tile = default_tile({})};
  std::vector<std::thread> threads;
  std::vector<std::string> keys(4);
  for (std::string &key : keys) {
    threads.emplace_back([&factory, &spec, &key] { key = factory.build({{spec, BinaryKind::cubin}})[0].info.key; });
  }
  for (std::thread &thread : threads) {
    thread.join();
  }
  EXPECT_EQ(std::set(keys.begin(), keys.end()).size(), 1U);
}

} // namespace
} // namespace sale
