// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/hopper/device.hpp"
#include "tests/emulator/hopper/matrices.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace sale::emulator::test {
namespace {

constexpr u32 a_base = shared;
constexpr u32 b_base = shared + 64 * 1024;
constexpr u32 shared_bytes = 220 * 1024;

void wgmma_fence() {
  static const Instruction it = make("wgmma.fence.sync.aligned", {});
  execute(it);
}

void wgmma_commit() {
  static const Instruction it = make("wgmma.commit_group.sync.aligned", {});
  execute(it);
}

void wgmma_wait(u32 pending) {
  static const Instruction it = make("wgmma.wait_group.sync.aligned", {value()});
  execute(it, {pending});
}

// Computes the product by one warpgroup and gives the number of wrong results.
int compute(const Product &product) {
  const Instruction instruction = product.instruction();
  const std::vector<int> expected = product.expected();
  int wrong = 0;
  expect_run(
      [&](Thread &thread) {
        if (thread.index() == 0) {
          product.store_operands();
          fence_async();
        }
        sync();
        WideSlots slots{};
        product.fill_slots(thread.index(), slots.data());
        wgmma_fence();
        instruction.handler(thread, instruction, slots.data());
        wgmma_commit();
        wgmma_wait(0);
        wrong += product.mismatches(thread.index(), slots.data(), expected);
      },
      {.threads = 128, .shared_bytes = shared_bytes});
  return wrong;
}

struct Types {
  const char *name;
  bool sparse;
};

class WgmmaTypes : public testing::TestWithParam<Types> {};

TEST_P(WgmmaTypes, ComputesTheProduct) {
  const auto [types, sparse] = GetParam();
  Random random(7);
  for (int round = 0; round < 60; ++round) {
    const bool integers = std::string(types).starts_with("s32");
    const u32 n =
        (integers && round >= 4 ? 16 : 8) * static_cast<u32>(1 + random() % (integers ? round < 4 ? 4 : 16 : 32));
    Product product(types, n, sparse, random);
    const bool halves = product.shape.element_bytes() == 2;
    product.a_registers = random() % 2 == 0;
    const bool a_k_major = !halves || random() % 2 == 0;
    const bool b_k_major = !halves || random() % 2 == 0;
    const auto span = [&] { return std::array<u32, 4>{0, 32, 64, 128}[random() % 4]; };
    const u32 a_span = span();
    product.place(random, a_base, b_base, a_span, span(), a_k_major, b_k_major);
    EXPECT_EQ(compute(product), 0) << product.opcode() << (product.a_registers ? " A in registers" : "") << ", A "
                                   << (a_k_major ? "K" : "M") << "-major span " << product.a_placement.span << ", B "
                                   << (b_k_major ? "K" : "N") << "-major span " << product.b_placement.span;
  }
}

INSTANTIATE_TEST_SUITE_P(All, WgmmaTypes, testing::ValuesIn([] {
                           std::vector<Types> all;
                           for (const char *types : {"f32.f16.f16", "f16.f16.f16", "f32.bf16.bf16", "f32.tf32.tf32",
                                                     "f32.e4m3.e4m3", "f32.e5m2.e4m3", "f16.e4m3.e5m2", "f16.e5m2.e5m2",
                                                     "s32.s8.s8", "s32.u8.u8", "s32.s8.u8", "s32.u8.s8.satfinite"}) {
                             all.push_back({types, false});
                             all.push_back({types, true});
                           }
                           return all;
                         }()),
                         [](const auto &test) {
                           std::string name =
                               std::string(test.param.sparse ? "Sparse" : "Dense") + "_" + test.param.name;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

TEST(Wgmma, ComputesEveryWidth) {
  Random random(3);
  for (u32 n = 8; n <= 256; n += 8) {
    Product product("f32.bf16.bf16", n, false, random);
    product.place(random, a_base, b_base, 128, 128, true, n % 16 == 0);
    EXPECT_EQ(compute(product), 0) << n;
  }
}

TEST(Wgmma, IntegersWrapOrSaturate) {
  Random random(4);
  for (const bool saturate : {false, true}) {
    Product product(saturate ? "s32.s8.s8.satfinite" : "s32.s8.s8", 8, false, random);
    product.place(random, a_base, b_base, 32, 32, true, true);
    product.accumulate = true;
    std::fill(product.a.begin(), product.a.end(), 1);
    std::fill(product.a_stored.begin(), product.a_stored.end(), 1);
    std::fill(product.b.begin(), product.b.end(), 1);
    std::fill(product.d.begin(), product.d.end(), 0x7ffffff0);
    std::vector<int> expected(product.d.size(), saturate ? 0x7fffffff : static_cast<int>(0x80000010U));
    const Instruction instruction = product.instruction();
    int wrong = 0;
    expect_run(
        [&](Thread &thread) {
          if (thread.index() == 0) {
            product.store_operands();
            fence_async();
          }
          sync();
          WideSlots slots{};
          product.fill_slots(thread.index(), slots.data());
          wgmma_fence();
          instruction.handler(thread, instruction, slots.data());
          wgmma_commit();
          wgmma_wait(0);
          wrong += product.mismatches(thread.index(), slots.data(), expected);
        },
        {.threads = 128, .shared_bytes = shared_bytes});
    EXPECT_EQ(wrong, 0);
  }
}

} // namespace
} // namespace sale::emulator::test
