// SPDX-License-Identifier: Apache-2.0
// What wgmma forbids: each rule broken once.
#include "tests/emulator/hopper/device.hpp"
#include "tests/emulator/hopper/matrices.hpp"

#include "emulator/instructions/registry.hpp"

#include <gtest/gtest.h>

#include <array>

namespace sale::emulator::test {
namespace {

constexpr u32 a_base = shared;
constexpr u32 b_base = shared + 8 * 1024;

class WgmmaHazard : public testing::Test {
protected:
  Random random{5};
  Product product{"f32.bf16.bf16", 16, false, random};
  Instruction wgmma;
  Instruction fence_ = make("wgmma.fence.sync.aligned", {});
  Instruction commit_ = make("wgmma.commit_group.sync.aligned", {});
  Instruction wait_ = make("wgmma.wait_group.sync.aligned", {value()});
  Shape shape{.threads = 128, .shared_bytes = 16 * 1024};

  void SetUp() override {
    product.place(random, a_base, b_base, 128, 128, true, true);
    wgmma = product.instruction();
  }

  void prepare() const {
    if (current_thread().index() == 0) {
      product.store_operands();
      fence_async();
    }
    sync();
  }
  void fence() const { execute(fence_); }
  void commit() const { execute(commit_); }
  void wait(u32 pending) const { execute(wait_, {pending}); }

  // The slots' operands after the accumulators: A, B, scale-d, imm-scale-a, imm-scale-b, imm-trans-a, imm-trans-b.
  void issue(const std::function<void(u64 *operands)> &change = {}) const {
    WideSlots slots{};
    product.fill_slots(current_thread().index() % 128, slots.data());
    if (change) {
      change(slots.data() + product.shape.accumulators());
    }
    wgmma.handler(current_thread(), wgmma, slots.data());
  }

  void expect(const std::string &words, const std::function<void(Thread &)> &kernel) const {
    expect_fault(words, kernel, shape);
  }
};

TEST_F(WgmmaHazard, TheFirstOfAGroupNeedsAFence) {
  const std::string words = "needs a wgmma.fence before it";
  expect(words, [&](Thread &) {
    prepare();
    issue();
  });
  expect(words, [&](Thread &) {
    prepare();
    fence();
    issue();
    commit();
    issue();
  });
  expect(words, [&](Thread &) {
    prepare();
    fence();
    issue();
    commit();
    fence();
    wait(0);
    issue();
  });
}

TEST_F(WgmmaHazard, OperandsMustNotBeOverwrittenBeforeTheWait) {
  for (const u32 base : {product.a_placement.address(0, 0), product.b_placement.address(0, 0)}) {
    expect("in flight since wgmma.mma_async", [&](Thread &) {
      prepare();
      fence();
      issue();
      commit();
      store(base, 0);
    });
  }
}

TEST_F(WgmmaHazard, AWaitFreesTheOperandsOfTheGroupsThatItCovers) {
  Product next = product;
  next.a_placement.start += 4096;
  next.b_placement.start += 4096;
  const auto kernel = [&](u32 pending) {
    return [&, pending](Thread &thread) {
      prepare();
      if (thread.index() == 0) {
        next.store_operands();
        fence_async();
      }
      sync();
      fence();
      issue();
      commit();
      fence();
      issue([&](u64 *operands) {
        operands[0] = next.a_placement.descriptor();
        operands[1] = next.b_placement.descriptor();
      });
      commit();
      wait(1);
      sync();
      if (thread.index() == 0) {
        store(product.a_placement.address(0, 0), 0);
      }
      wait(pending);
      sync();
      if (thread.index() == 0) {
        store(next.b_placement.address(0, 0), 0);
      }
      wait(0);
    };
  };
  expect_run(kernel(0), shape);
  expect("in flight since wgmma.mma_async", kernel(1));
}

TEST_F(WgmmaHazard, OtherWarpsMayNotOverwriteWithoutABarrier) {
  expect("Race on shared memory", [&](Thread &thread) {
    prepare();
    fence();
    issue();
    commit();
    wait(0);
    if (thread.index() == 0) {
      store(product.b_placement.address(0, 0), 0);
    }
  });
}

TEST_F(WgmmaHazard, PlainStoresNeedAProxyFence) {
  expect("no fence.proxy.async", [&](Thread &thread) {
    if (thread.index() == 0) {
      product.store_operands();
    }
    sync();
    fence();
    issue();
  });
}

TEST_F(WgmmaHazard, OperandsAreInitialised) {
  expect("ninitialised", [&](Thread &) {
    fence();
    issue();
  });
}

TEST_F(WgmmaHazard, OperandsLieWithinSharedMemory) {
  expect("hared", [&](Thread &) {
    prepare();
    fence();
    issue([&](u64 *operands) { operands[1] += 0x3000; });
  });
}

TEST_F(WgmmaHazard, GroupsAreCommittedAndWaitedForBeforeTheThreadReturns) {
  expect("returns with a wgmma that no wgmma.commit_group covers", [&](Thread &) {
    prepare();
    fence();
    issue();
  });
  expect("returns with a wgmma that no wgmma.wait_group covers", [&](Thread &) {
    prepare();
    fence();
    issue();
    commit();
  });
  expect("returns with a wgmma that no wgmma.wait_group covers", [&](Thread &) {
    prepare();
    fence();
    issue();
    commit();
    wait(1);
  });
}

TEST_F(WgmmaHazard, AWaitCoversOnlyWhatIsCommitted) {
  expect("wgmmas that no wgmma.commit_group covers are not waited for", [&](Thread &) {
    prepare();
    fence();
    issue();
    wait(0);
  });
}

TEST_F(WgmmaHazard, LanesAgree) {
  expect("lanes 0 and 3 give different descriptors of B", [&](Thread &thread) {
    prepare();
    fence();
    issue([&](u64 *operands) { operands[1] += thread.index() == 3 ? 2 : 0; });
  });
  expect("lanes 0 and 31 give different scale-d", [&](Thread &thread) {
    prepare();
    fence();
    issue([&](u64 *operands) { operands[2] = thread.lane() == 31 ? 1 : 0; });
  });
}

TEST_F(WgmmaHazard, WarpsAgree) {
  expect("the warps of warpgroup 0 disagree on wgmma 0", [&](Thread &thread) {
    prepare();
    fence();
    issue([&](u64 *operands) { operands[0] += thread.warp().index() == 2 ? 64 : 0; });
    commit();
    wait(0);
  });
}

TEST_F(WgmmaHazard, EveryWarpOfAWarpgroupTakesPart) {
  expect("Not every warp of a warpgroup issued wgmma.mma_async", [&](Thread &thread) {
    prepare();
    if (thread.warp().index() != 3) {
      fence();
      issue();
      commit();
      wait(0);
    }
  });
  shape.threads = 160;
  expect("warpgroup 1 of this CTA has fewer", [&](Thread &) {
    prepare();
    fence();
    issue();
    commit();
    wait(0);
  });
}

TEST_F(WgmmaHazard, ImmediatesAreInRange) {
  const std::array<std::pair<int, const char *>, 4> each = {{{2, "scale-d is 2; it is 0 or 1"},
                                                             {3, "imm-scale-a is 2; it is 1 or -1"},
                                                             {4, "imm-scale-b is 2; it is 1 or -1"},
                                                             {6, "imm-trans-b is 2; it is 0 or 1"}}};
  for (const auto &[operand, words] : each) {
    expect(words, [&, at = operand](Thread &) {
      fence();
      issue([at](u64 *operands) { operands[at] = 2; });
    });
  }
}

TEST_F(WgmmaHazard, MetadataIsChecked) {
  Product sparse("f32.e4m3.e4m3", 16, true, random);
  sparse.place(random, a_base, b_base, 128, 128, true, true);
  product = sparse;
  wgmma = product.instruction();
  product.metadata[9] = 0x444444f4; // lane 9: the first 32 of row 10
  expect("metadata 0b1111 of row 10, group 1: two different positions", [&](Thread &) {
    prepare();
    fence();
    issue();
  });
  product.metadata = sparse.metadata;
  product.selector = 1;
  expect("sparsity selector 1: 0 is possible", [&](Thread &) {
    prepare();
    fence();
    issue();
  });
}

TEST_F(WgmmaHazard, OperandsAreAsManyAsTheShapeNeeds) {
  wgmma.operands[0].count = 4;
  expect("8 operands with 4 accumulators; 8 and 8 are right", [&](Thread &) {
    fence();
    issue();
  });
}

TEST(WgmmaForms, ThoseThatDoNotExistAreUnknown) {
  const auto known = [](const std::string &shape, const std::string &d, const std::string &a, const std::string &b) {
    Instruction instruction;
    instruction.parts = {"wgmma", "mma_async", "sync", "aligned", shape, d, a, b};
    return find_handler(instruction) != nullptr;
  };
  EXPECT_TRUE(known("m64n24k16", "f32", "bf16", "bf16"));
  EXPECT_FALSE(known("m64n12k16", "f32", "bf16", "bf16"));
  EXPECT_FALSE(known("m64n264k16", "f32", "bf16", "bf16"));
  EXPECT_FALSE(known("m64n64k32", "f32", "bf16", "bf16"));
  EXPECT_FALSE(known("m32n64k16", "f32", "bf16", "bf16"));
  EXPECT_FALSE(known("m64n64k16", "f16", "bf16", "bf16"));
  EXPECT_FALSE(known("m64n64k16", "f32", "bf16", "f16"));
  EXPECT_TRUE(known("m64n32k32", "s32", "s8", "u8"));
  EXPECT_FALSE(known("m64n40k32", "s32", "s8", "s8"));
  EXPECT_FALSE(known("m64n32k32", "f32", "s8", "s8"));
  EXPECT_TRUE(known("m64n32k32", "f16", "e5m2", "e4m3"));
  EXPECT_FALSE(known("m64n32k32", "f16", "e5m2", "s8"));
}

} // namespace
} // namespace sale::emulator::test
