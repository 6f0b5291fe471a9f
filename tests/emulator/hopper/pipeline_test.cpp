// SPDX-License-Identifier: Apache-2.0
// Tensor copies feed wgmma: what one swizzles, the other must undo.
#include "tests/emulator/hopper/device.hpp"
#include "tests/emulator/hopper/matrices.hpp"

#include "emulator/instructions/tensor_map.hpp"
#include "reference/element.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <memory>

namespace sale::emulator::test {
namespace {

struct alignas(64) Opaque {
  std::array<u8, TensorMap::opaque_bytes> bytes{};
};

// A row-major matrix of bf16 integers in device memory.
struct Matrix {
  u32 rows;
  u32 columns;
  std::unique_ptr<u16, void (*)(u16 *)> data;

  Matrix(u32 its_rows, u32 its_columns, Random &random)
      : rows(its_rows), columns(its_columns),
        data(static_cast<u16 *>(allocate_global(its_rows * its_columns * 2)), [](u16 *p) { free_global(p); }) {
    for (u32 i = 0; i < rows * columns; ++i) {
      data.get()[i] = reference::float_to_bf16(static_cast<float>(static_cast<int>(random() % 7) - 3));
    }
  }
  float at(u32 row, u32 column) const { return reference::bf16_to_float(data.get()[row * columns + column]); }

  Opaque boxes(u32 box_rows, u32 box_columns, u32 swizzle) const {
    TensorMap map;
    map.type = 9;
    map.rank = 2;
    map.address = reinterpret_cast<u64>(data.get());
    map.dimensions = {columns, rows};
    map.strides = {u64{columns} * 2};
    map.box = {box_columns, box_rows};
    map.element_strides = {1, 1};
    map.swizzle = swizzle;
    Opaque opaque;
    EXPECT_EQ(encode_tensor_map(map, &opaque), "");
    return opaque;
  }
};

// D = Q·Kᵀ (64 x 48, depth 80) or Q·V: the last box of a row is partly out of bounds, and filled with zeros.
class Pipeline : public testing::TestWithParam<std::tuple<u32, bool>> {};

TEST_P(Pipeline, MultipliesWhatTensorCopiesBring) {
  const auto [swizzle, transposed] = GetParam();
  constexpr u32 n = 48;
  constexpr u32 depth = 80;
  constexpr u32 padded = 128;
  const u32 span = 16U << swizzle;
  const u32 columns = span / 2; // of a box
  Random random(swizzle);
  const Matrix q(64, depth, random);
  const Matrix k(transposed ? depth : n, transposed ? n : depth, random);
  const Opaque q_map = q.boxes(64, columns, swizzle);
  const Opaque k_map = k.boxes(transposed ? padded : n, columns, swizzle);
  const u32 q_boxes = padded / columns;
  const u32 k_boxes = transposed ? (n + columns - 1) / columns : q_boxes;
  const u32 q_bytes = 64 * span;
  const u32 k_bytes = (transposed ? padded : n) * span;
  constexpr u32 full = shared;
  constexpr u32 q_base = shared + 1024;
  const u32 k_base = q_base + q_boxes * q_bytes;

  Product product("f32.bf16.bf16", n, false, random); // for its instruction
  const Instruction wgmma = product.instruction();
  const Instruction fence = make("wgmma.fence.sync.aligned", {});
  const Instruction commit = make("wgmma.commit_group.sync.aligned", {});
  const Instruction wait = make("wgmma.wait_group.sync.aligned", {value()});
  int wrong = 0;
  for (u64 seed = 0; seed < 3; ++seed) {
    expect_run(
        [&](Thread &thread) {
          if (thread.index() == 0) {
            mbarrier_init(full, 1);
            fence_mbarrier_init();
            mbarrier_arrive_expect(full, q_boxes * q_bytes + k_boxes * k_bytes);
            for (u32 i = 0; i < q_boxes; ++i) {
              tensor_load(q_base + i * q_bytes, &q_map, {static_cast<s32>(i * columns), 0}, full);
            }
            for (u32 i = 0; i < k_boxes; ++i) {
              tensor_load(k_base + i * k_bytes, &k_map, {static_cast<s32>(i * columns), 0}, full);
            }
          }
          sync();
          mbarrier_wait(full, 0);
          WideSlots slots{};
          execute(fence);
          for (u32 step = 0; step < padded / 16; ++step) {
            const auto within_row = [&](u32 base, u32 box_bytes) {
              Placement p;
              p.span = span;
              p.start = base + step * 16 / columns * box_bytes + step * 16 % columns * 2;
              p.stride = 8 * span;
              return p.descriptor();
            };
            Placement down; // MN-major: 16 rows further for every step
            down.span = span;
            down.start = k_base + step * 16 * span;
            down.leading = k_bytes;
            down.stride = 8 * span;
            u64 *operands = slots.data() + n / 2;
            operands[0] = within_row(q_base, q_bytes);
            operands[1] = transposed ? down.descriptor() : within_row(k_base, k_bytes);
            operands[2] = step == 0 ? 0 : 1;
            operands[3] = operands[4] = 1;
            operands[6] = transposed ? 1 : 0;
            wgmma.handler(thread, wgmma, slots.data());
          }
          execute(commit);
          execute(wait, {0});
          for (u32 i = 0; i < n / 2; ++i) {
            const u32 row = thread.index() / 32 * 16 + thread.lane() / 4 + i / 2 % 2 * 8;
            const u32 column = i / 4 * 8 + thread.lane() % 4 * 2 + i % 2;
            float sum = 0;
            for (u32 x = 0; x < depth; ++x) {
              sum += q.at(row, x) * (transposed ? k.at(x, column) : k.at(column, x));
            }
            wrong += std::bit_cast<float>(static_cast<u32>(slots[i])) == sum ? 0 : 1;
          }
        },
        {.threads = 128, .shared_bytes = 100 * 1024, .seed = seed});
  }
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(All, Pipeline, testing::Combine(testing::Values(1U, 2U, 3U), testing::Bool()));

} // namespace
} // namespace sale::emulator::test
