// SPDX-License-Identifier: Apache-2.0
// Packs as the first layer of the cache, with and without a compiler.
#include "cache/pack.hpp"
#include "generator/generate.hpp"
#include "runtime/kernel_factory.hpp"
#include "tests/runtime/plan_fixture.hpp"

#include <gtest/gtest.h>

#include <fstream>

namespace sale {
namespace {

namespace fs = std::filesystem;

class PackLayer : public PlanTest {
protected:
  /// A pack of every kernel of the default Plan for sm_90a.
  PackLayer() {
    arch_ = "sm_90a";
    pack_ = folder_.path() / "kernels.pack";
    Options with = options();
    with.use_disk_cache = false;
    std::vector<KernelRequest> requests;
    for (const KernelSpec &spec : plan_kernels({}, {}, parse_arch(arch_))) {
      requests.push_back({spec, BinaryKind::cubin});
    }
    std::vector<Entry> entries;
    for (const BuiltKernel &kernel : KernelFactory(with).build(requests)) {
      entries.push_back(*kernel.entry);
    }
    write_pack(pack_, entries, {"1.0", "templates"});
  }
  Options with_pack() {
    Options with = options();
    with.cache_packs = {pack_};
    return with;
  }
  fs::path pack_;
};

TEST_F(PackLayer, RunsOnAHostThatHasNoCompilerAtAll) {
  fake_cuda().wgmma_family = true;
  for (const bool frozen : {false, true}) {
    Options with = with_pack();
    with.nvrtc = "/nonexistent";
    with.frozen = frozen;
    const Engine engine(0, with);
    const Plan plan = engine.prepare({}, {});
    EXPECT_EQ(engine.cache_counters().pack_hits, 6U);
    EXPECT_EQ(engine.cache_counters().misses, 0U);
    EXPECT_FALSE(enqueued(plan, args_for(plan, {1, 4096, 4096})).empty());
    EXPECT_TRUE(warnings_.empty());
  }
}

TEST_F(PackLayer, ServesTheCompilersOwnKernelsOnly) {
  Options with = with_pack();
  const Engine same(0, with);
  same.prepare({}, {});
  EXPECT_EQ(same.cache_counters().pack_hits, 6U);
  with.nvrtc = FAKE_NVRTC_NEWER;
  const Engine other(0, with);
  other.prepare({}, {});
  EXPECT_EQ(other.cache_counters().pack_hits, 0U);
  EXPECT_EQ(other.cache_counters().compiles, 6U);
}

TEST_F(PackLayer, CompilesWhatItLacks) {
  const Engine engine(0, with_pack());
  Policy policy;
  policy.block_k = 64;
  engine.prepare({}, policy);
  const CacheCounters counters = engine.cache_counters();
  EXPECT_GT(counters.pack_hits, 0U);
  EXPECT_GT(counters.compiles, 0U);
  EXPECT_EQ(counters.pack_hits + counters.compiles, 6U);
}

TEST_F(PackLayer, RefusesToPrepareWithoutAPackThatOptionsName) {
  Options with = with_pack();
  with.cache_packs.emplace_back(folder_.path() / "absent.pack");
  const Engine engine(0, with);
  for (int i = 0; i < 2; ++i) {
    const Error error = error_of([&] { engine.prepare({}, {}); });
    EXPECT_EQ(error.kind(), ErrorKind::cache);
    EXPECT_NE(std::string(error.what()).find("absent.pack"), std::string::npos);
  }
  // Once it is there, all is well.
  fs::copy(pack_, with.cache_packs[1]);
  engine.prepare({}, {});
  EXPECT_EQ(engine.cache_counters().pack_hits, 6U);
}

TEST_F(PackLayer, GoesOnWithoutAPackThatTheEnvironmentNames) {
  const SetVariable packs("SALE_CACHE_PACKS", "/nonexistent/a.pack::" + pack_.string() + ":");
  const Engine engine(0, options());
  engine.prepare({}, {});
  EXPECT_EQ(engine.cache_counters().pack_hits, 6U);
  EXPECT_EQ(engine.cache_counters().disk_errors, 1U);
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_NE(warnings_[0].find("/nonexistent/a.pack"), std::string::npos);
}

TEST_F(PackLayer, RefusesAPackWithoutTheSignatureThatIsAskedFor) {
  std::ofstream(folder_.path() / "key.pem") << "-----BEGIN PUBLIC KEY-----\n"
                                               "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
                                               "-----END PUBLIC KEY-----\n";
  Options with = with_pack();
  with.pack_key = folder_.path() / "key.pem";
  EXPECT_EQ(error_of([&] { Engine(0, with).prepare({}, {}); }).kind(), ErrorKind::cache);
  const SetVariable key("SALE_PACK_KEY", with.pack_key);
  EXPECT_EQ(error_of([&] { Engine(0, with_pack()).prepare({}, {}); }).kind(), ErrorKind::cache);
}

TEST_F(PackLayer, CompilesWhatIsDamagedInAPack) {
  {
    std::fstream file(pack_, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(-20, std::ios::end);
    file << "damaged";
  }
  const Engine engine(0, with_pack());
  EXPECT_EQ(engine.prepare({}, {}).kernels().size(), 6U);
  EXPECT_EQ(engine.cache_counters().pack_hits, 5U);
  EXPECT_EQ(engine.cache_counters().compiles, 1U);
  EXPECT_GE(engine.cache_counters().disk_errors, 1U);
  EXPECT_FALSE(warnings_.empty());
}

TEST_F(PackLayer, SaysHowToAddAKernelWhenFrozen) {
  Options with = with_pack();
  with.frozen = true;
  Policy policy;
  policy.block_k = 64;
  const Error error = error_of([&] { Engine(0, with).prepare({}, policy); });
  EXPECT_EQ(error.kind(), ErrorKind::not_cached);
  EXPECT_EQ(error.details().advice.rfind("add it with `sale prewarm --arch sm_90a", 0), 0U) << error.details().advice;
}

TEST_F(PackLayer, LooksIntoNoPackWhenTheDiskCacheIsOff) {
  Options with = with_pack();
  with.use_disk_cache = false;
  const Engine engine(0, with);
  engine.prepare({}, {});
  EXPECT_EQ(engine.cache_counters().pack_hits, 0U);
}

} // namespace
} // namespace sale
