// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/hopper/device.hpp"

#include "emulator/instructions/registry.hpp"
#include "emulator/instructions/tensor_map.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>

namespace sale::emulator::test {
namespace {

constexpr u32 barrier = shared;
constexpr u32 buffer = shared + 1024;

struct alignas(64) Opaque {
  std::array<u8, TensorMap::opaque_bytes> bytes{};
};

// A random tensor in device memory, and a box.
struct Tensor {
  TensorMap map;
  std::unique_ptr<u8, bool (*)(void *)> data{nullptr, free_global};
  u64 bytes = 0;
  Opaque opaque;

  Tensor(u32 type, u32 rank, u32 swizzle, std::minstd_rand &random) {
    map.type = type;
    map.rank = rank;
    map.swizzle = swizzle;
    const u32 element = map.element_bytes();
    map.element_strides.fill(1);
    map.dimensions[0] = 1 + random() % 60;
    const u32 pieces = swizzle == 0 ? 8 : 1U << swizzle; // of 16 bytes
    map.box[0] = 16U * (random() % 2 == 0 ? pieces : static_cast<u32>(1 + random() % pieces)) / element;
    u64 stride = (map.dimensions[0] * element + 15) / 16 * 16 + 16 * (random() % 3);
    for (u32 i = 1; i < rank; ++i) {
      map.dimensions[i] = 1 + random() % 12;
      map.box[i] = static_cast<u32>(1 + random() % (rank > 3 ? 4 : 9));
      map.element_strides[i] = static_cast<u32>(random() % 4 == 0 ? 1 + random() % 3 : 1);
      map.strides[i - 1] = stride;
      stride *= map.dimensions[i];
    }
    bytes = stride;
    data.reset(static_cast<u8 *>(allocate_global(bytes)));
    std::generate_n(data.get(), bytes, [&] { return static_cast<u8>(random()); });
    map.address = reinterpret_cast<u64>(data.get());
    EXPECT_EQ(encode_tensor_map(map, &opaque), "");
  }

  // The element of box position `at`, or null when it is outside. A store goes on to a multiple of 16 bytes.
  u8 *element(const std::array<s32, 5> &corner, const std::array<u32, 5> &at, bool store) {
    u8 *address = data.get();
    for (u32 i = 0; i < map.rank; ++i) {
      const long long coordinate = corner[i] + static_cast<long long>(at[i]) * (i == 0 ? 1 : map.element_strides[i]);
      const u32 unit = i == 0 && store ? 16 / map.element_bytes() : 1;
      if (coordinate < 0 || coordinate >= static_cast<long long>((map.dimensions[i] + unit - 1) / unit * unit)) {
        return nullptr;
      }
      address += static_cast<u64>(coordinate) * (i == 0 ? map.element_bytes() : map.strides[i - 1]);
    }
    return address;
  }

  // visit(box position, byte of shared memory from the box's first, before swizzling), dimension 0 varying fastest.
  // A row narrower than the swizzle leaves the rest of its span as it was.
  template <class Visit>
  void each(const Visit &visit) const {
    std::array<u32, 5> at{};
    for (u32 row = 0; row < extent(); row += pitch()) {
      for (at[0] = 0; at[0] < map.box[0]; ++at[0]) {
        visit(at, row + at[0] * map.element_bytes());
      }
      for (u32 i = 1; i < map.rank && ++at[i] == map.count(i); ++i) {
        at[i] = 0;
      }
    }
  }
  u32 pitch() const { return map.swizzle == 0 ? map.box[0] * map.element_bytes() : 16U << map.swizzle; }
  u32 extent() const { return map.box_bytes() / map.row_bytes() * pitch(); }
};

// By the CUDA guide: in a line of 128 bytes, chunk i of line y is kept at i ^ y, of the bits that the span has.
u32 kept_at(u32 address, u32 swizzle) {
  const u32 chunks = swizzle == 0 ? 1 : 1U << swizzle;
  const u32 chunk = address / 16;
  const u32 line = address / 128;
  return ((chunk - chunk % chunks) + (chunk % chunks ^ line % chunks)) * 16 + address % 16;
}

std::array<s32, 5> random_corner(const TensorMap &map, std::minstd_rand &random, bool store) {
  std::array<s32, 5> corner{};
  for (u32 i = 0; i < map.rank; ++i) {
    const auto box = static_cast<s32>(map.box[i]);
    const auto range = static_cast<s32>(map.dimensions[i]) + box + 2;
    corner[i] = random() % 3 == 0 ? 0 : static_cast<s32>(random() % static_cast<u32>(range)) - box - 1;
    if (i == 0) {
      corner[i] = corner[i] / static_cast<s32>(16 / map.element_bytes()) * static_cast<s32>(16 / map.element_bytes());
    }
    corner[i] = store ? std::max(corner[i], 0) : corner[i];
  }
  return corner;
}

std::vector<s32> coordinates(const TensorMap &map, const std::array<s32, 5> &corner) {
  return {corner.begin(), corner.begin() + map.rank};
}

constexpr std::array<u32, 5> types = {0, 9, 6, 7, 8}; // u8, bf16, f16, f32, f64

class TensorCopy : public testing::TestWithParam<std::tuple<u32, u32, u32>> {};

TEST_P(TensorCopy, LoadsBoxesAnywhere) {
  const auto [rank, swizzle, type] = GetParam();
  std::minstd_rand random(rank * 100 + swizzle * 10 + type);
  for (int round = 0; round < 12; ++round) {
    Tensor tensor(type, rank, swizzle, random);
    const bool nan = round % 2 == 1 && type != 0;
    tensor.map.fill = nan ? 1 : 0;
    ASSERT_EQ(encode_tensor_map(tensor.map, &tensor.opaque), "");
    const auto corner = random_corner(tensor.map, random, false);
    const u32 destination = buffer + 128 * static_cast<u32>(random() % 8);
    const u32 extent = tensor.extent();
    std::vector<u8> got(extent);
    expect_run(
        [&](Thread &) {
          store_bytes(destination, std::vector<u8>(extent, 0xee));
          mbarrier_init(barrier, 1);
          fence_mbarrier_init();
          mbarrier_arrive_expect(barrier, tensor.map.box_bytes()); // all of it, also what is out of bounds
          tensor_load(destination, &tensor.opaque, coordinates(tensor.map, corner), barrier);
          mbarrier_wait(barrier, 0);
          for (u32 i = 0; i < extent; i += 4) {
            const u32 word = load(destination + i);
            std::memcpy(got.data() + i, &word, 4);
          }
        },
        {.threads = 1, .shared_bytes = 150000});
    std::vector<u8> expected(extent, 0xee);
    tensor.each([&](const auto &at, u32 offset) {
      u8 *to = expected.data() + (kept_at(destination + offset, swizzle) - destination);
      const u8 *source = tensor.element(corner, at, false);
      for (u32 i = 0; i < tensor.map.element_bytes(); ++i) {
        to[i] = source != nullptr ? source[i] : !nan ? 0 : i % 2 == 0 ? 0xf7 : 0x7f; // as an H100 does it
      }
    });
    EXPECT_EQ(got, expected) << "round " << round;
  }
}

TEST_P(TensorCopy, StoresBoxesAtAnyCornerThatTheHardwareTakes) {
  const auto [rank, swizzle, type] = GetParam();
  std::minstd_rand random(rank * 100 + swizzle * 10 + type + 5000);
  for (int round = 0; round < 12; ++round) {
    Tensor tensor(type, rank, swizzle, random);
    const auto corner = random_corner(tensor.map, random, true);
    const u32 source = buffer + 128 * static_cast<u32>(random() % 8);
    std::vector<u8> box(tensor.extent());
    std::generate(box.begin(), box.end(), [&] { return static_cast<u8>(random()); });
    std::vector<u8> expected(tensor.data.get(), tensor.data.get() + tensor.bytes);
    tensor.each([&](const auto &at, u32 offset) {
      if (const u8 *element = tensor.element(corner, at, true)) {
        std::memcpy(expected.data() + (element - tensor.data.get()),
                    box.data() + (kept_at(source + offset, swizzle) - source), tensor.map.element_bytes());
      }
    });
    expect_run(
        [&](Thread &) {
          store_bytes(source, box);
          fence_async();
          tensor_store(&tensor.opaque, coordinates(tensor.map, corner), source);
          bulk_commit();
          bulk_wait(0);
        },
        {.threads = 1, .shared_bytes = 150000});
    EXPECT_EQ(std::memcmp(expected.data(), tensor.data.get(), tensor.bytes), 0) << "round " << round;
  }
}

INSTANTIATE_TEST_SUITE_P(All, TensorCopy,
                         testing::Combine(testing::Range(1U, 6U), testing::Range(0U, 4U), testing::ValuesIn(types)),
                         [](const auto &test) {
                           return std::to_string(std::get<0>(test.param)) + "dSwizzle" +
                                  std::to_string(std::get<1>(test.param)) + "Type" +
                                  std::to_string(std::get<2>(test.param));
                         });

// One thread, one copy of a 64 x 8 box of bf16.
struct Faults : testing::Test {
  std::minstd_rand random{1};
  Tensor tensor{9, 2, 3, random};

  void expect(const std::string &words, const std::function<void()> &kernel) {
    expect_fault(words,
                 [&](Thread &) {
                   mbarrier_init(barrier, 1);
                   fence_mbarrier_init();
                   kernel();
                 },
                 {.threads = 1, .shared_bytes = 20000});
  }
};

using TensorCopyFault = Faults;

TEST_F(TensorCopyFault, AMapIsAlignedAndEncoded) {
  expect("its address must be aligned to 64 bytes",
         [&] { tensor_load(buffer, tensor.opaque.bytes.data() + 16, {0, 0}, barrier); });
  const Opaque garbage;
  expect("These 128 bytes are no tensor map", [&] { tensor_load(buffer, &garbage, {0, 0}, barrier); });
}

TEST_F(TensorCopyFault, AMapIsNotInSharedMemory) {
  expect("a tensor map in shared memory", [&] {
    u8 *copy = current_thread().cta().shared().base() + 4096;
    std::memcpy(copy, &tensor.opaque, TensorMap::opaque_bytes);
    tensor_load(buffer, copy, {0, 0}, barrier);
  });
}

TEST_F(TensorCopyFault, ThereAreAsManyCoordinatesAsDimensions) {
  expect("3 coordinates for a tensor map of 2 dimensions",
         [&] { tensor_load(buffer, &tensor.opaque, {0, 0, 0}, barrier); });
}

TEST_F(TensorCopyFault, ABoxInSharedMemoryIsAlignedTo128Bytes) {
  expect("it must be aligned to 128 bytes", [&] { tensor_load(buffer + 64, &tensor.opaque, {0, 0}, barrier); });
  expect("it must be aligned to 128 bytes", [&] { tensor_store(&tensor.opaque, {0, 0}, buffer + 16); });
}

TEST_F(TensorCopyFault, ACornerIsOneThatTheHardwareTakes) {
  expect("innermost coordinate 4 of 2-byte elements; it must be at a multiple of 16 bytes",
         [&] { tensor_load(buffer, &tensor.opaque, {4, 0}, barrier); });
  expect("innermost coordinate -2 of 2-byte elements", [&] { tensor_store(&tensor.opaque, {-2, 0}, buffer); });
  expect("coordinate 1 is -1; stores take none below 0", [&] { tensor_store(&tensor.opaque, {8, -1}, buffer); });
}

TEST_F(TensorCopyFault, TheTensorLiesWithinItsAllocation) {
  tensor.map.dimensions[1] = 1000;
  tensor.map.element_strides[1] = 1;
  ASSERT_EQ(encode_tensor_map(tensor.map, &tensor.opaque), "");
  expect("lobal", [&] { tensor_load(buffer, &tensor.opaque, {0, 900}, barrier); });
}

TEST_F(TensorCopyFault, TheBoxLiesWithinSharedMemory) {
  expect("hared", [&] { tensor_load(shared + 19968, &tensor.opaque, {0, 0}, barrier); });
}

TEST_F(TensorCopyFault, TheBytesAreNotThereBeforeTheWait) {
  expect("in flight since cp.async.bulk.tensor.2d", [&] {
    tensor_load(buffer, &tensor.opaque, {0, 0}, barrier);
    load(buffer);
  });
}

TEST_F(TensorCopyFault, OutOfBoundsBytesCountToo) {
  expect("lacks 0 of 1 arrivals and -", [&] {
    mbarrier_arrive_expect(barrier, 128);
    tensor.map.box[1] = 8;
    EXPECT_EQ(encode_tensor_map(tensor.map, &tensor.opaque), "");
    tensor_load(buffer, &tensor.opaque, {0, static_cast<s32>(tensor.map.dimensions[1]) - 1}, barrier);
    mbarrier_wait(barrier, 0);
  });
}

TEST(TensorPrefetch, IsCheckedAndDoesNothing) {
  std::minstd_rand random{2};
  Tensor tensor(9, 2, 0, random);
  Operand box = address();
  box.count = 3;
  const Instruction prefetch = make("cp.async.bulk.prefetch.tensor.2d.L2.global.tile", {box});
  const Instruction prefetch_map = make("prefetch.tensormap", {address()});
  expect_run(
      [&](Thread &) {
        execute(prefetch, {reinterpret_cast<u64>(&tensor.opaque), 0, 0});
        execute(prefetch_map, {reinterpret_cast<u64>(&tensor.opaque)});
      },
      {.threads = 1});
  expect_fault("aligned to 64 bytes",
               [&](Thread &) { execute(prefetch_map, {reinterpret_cast<u64>(&tensor.opaque) + 8}); }, {.threads = 1});
}

TEST(TensorCopyForms, ClustersAndIm2colAreUnknown) {
  const auto known = [](std::vector<std::string> parts) {
    Instruction instruction;
    instruction.parts = std::move(parts);
    return find_handler(instruction) != nullptr;
  };
  const std::string bytes = "mbarrier::complete_tx::bytes";
  EXPECT_TRUE(known({"cp", "async", "bulk", "tensor", "3d", "shared::cta", "global", bytes, "L2::cache_hint"}));
  EXPECT_FALSE(
      known({"cp", "async", "bulk", "tensor", "3d", "shared::cluster", "global", bytes, "multicast::cluster"}));
  EXPECT_FALSE(known({"cp", "async", "bulk", "tensor", "3d", "shared::cluster", "global", "im2col", bytes}));
  EXPECT_FALSE(known({"cp", "async", "bulk", "tensor", "3d", "shared::cluster", "global", bytes, "cta_group::2"}));
  EXPECT_FALSE(known({"cp", "reduce", "async", "bulk", "tensor", "2d", "global", "shared::cta", "add", "bulk_group"}));
}

} // namespace
} // namespace sale::emulator::test
