// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/instructions/harness.hpp"

#include <gtest/gtest.h>

#include <random>

namespace sale::emulator::test {
namespace {

std::string opcode(const char *name, int tiles, bool transposed) {
  return std::string(name) + ".sync.aligned.m8n8.x" + std::to_string(tiles) + (transposed ? ".trans" : "") +
         ".shared.b16";
}

/// 16-bit elements of four tiles, [tile][row][column].
using Tiles = std::array<std::array<std::array<u16, 8>, 8>, 4>;

Tiles random_tiles() {
  std::mt19937 random(3);
  Tiles tiles{};
  for (auto &tile : tiles) {
    for (auto &row : tile) {
      for (u16 &element : row) {
        element = static_cast<u16>(random());
      }
    }
  }
  return tiles;
}

/// The PTX ISA's fragment: of a tile, lane's first element or second.
u32 fragment(const Tiles &tiles, int tile, u32 lane, bool transposed) {
  const auto &t = tiles[static_cast<std::size_t>(tile)];
  const u32 r = lane / 4;
  const u32 c = lane % 4 * 2;
  return transposed ? t[c][r] | u32{t[c + 1][r]} << 16U : t[r][c] | u32{t[r][c + 1]} << 16U;
}

/// Rows lie in an order of their own, 16 bytes each.
u32 row_address(u32 row) { return shared + 16 * (row * 7 % 32); }

TEST(MatrixLoad, FragmentsAreThoseOfThePtxIsa) {
  const Tiles tiles = random_tiles();
  const Instruction store = make("st.shared.b16", {address(), value()});
  for (const int count : {1, 2, 4}) {
    for (const bool transposed : {false, true}) {
      const Instruction load = make(opcode("ldmatrix", count, transposed), {value(count), address()});
      expect_run([&](Thread &thread) {
        const u32 lane = thread.lane();
        for (u32 column = 0; column < 8; ++column) {
          execute(store, {row_address(lane) + 2 * column, tiles[lane / 8][lane % 8][column]});
        }
        Slots slots{};
        // The addresses of lanes that supply no row are not looked at.
        slots[static_cast<std::size_t>(count)] = lane < static_cast<u32>(8 * count) ? row_address(lane) : 3;
        const Slots got = execute(load, slots);
        for (int tile = 0; tile < count; ++tile) {
          EXPECT_EQ(got[static_cast<std::size_t>(tile)], fragment(tiles, tile, lane, transposed))
              << count << transposed << " lane " << lane;
        }
      });
    }
  }
}

TEST(MatrixLoad, StoresAreTheInverse) {
  const Tiles tiles = random_tiles();
  const Instruction load = make("ld.shared.b16", {value(), address()});
  for (const int count : {1, 2, 4}) {
    for (const bool transposed : {false, true}) {
      const Instruction store = make(opcode("stmatrix", count, transposed), {address(), value(count)});
      expect_run([&](Thread &thread) {
        const u32 lane = thread.lane();
        Slots slots{row_address(lane)};
        for (int tile = 0; tile < count; ++tile) {
          slots[static_cast<std::size_t>(1 + tile)] = fragment(tiles, tile, lane, transposed);
        }
        execute(store, slots);
        for (u32 column = 0; column < 8 && lane < static_cast<u32>(8 * count); ++column) {
          EXPECT_EQ(execute(load, {0, row_address(lane) + 2 * column})[0], tiles[lane / 8][lane % 8][column]);
        }
      });
    }
  }
}

TEST(MatrixLoad, BadRowAddressesFault) {
  const Instruction load = make(opcode("ldmatrix", 4, false), {value(4), address()});
  const Instruction store = make(opcode("stmatrix", 4, false), {address(), value(4)});
  expect_fault("multiple of 16",
               [&](Thread &thread) { execute(store, {shared + 16 * thread.lane() + 8 * (thread.lane() == 9)}); });
  expect_fault("initialised", [&](Thread &thread) { execute(load, {0, 0, 0, 0, shared + 16 * thread.lane()}); });
  expect_fault("stmatrix", [&](Thread &thread) { execute(store, {shared + 4096 - 256 + 16 * thread.lane()}); });
}

TEST(MatrixLoad, ConflictsAreCountedInPhasesOfEightRows) {
  for (const u32 stride : {16U, 64U, 128U}) {
    const Instruction store = make(opcode("stmatrix", 4, false), {address(), value(4)});
    Statistics statistics;
    expect_run([&](Thread &thread) { execute(store, {shared + stride * thread.lane()}); }, {}, &statistics);
    ASSERT_EQ(statistics.bank_accesses.size(), 1U);
    const auto [accesses, conflicts] = statistics.bank_accesses.begin()->second;
    EXPECT_EQ(accesses, 4U);
    EXPECT_EQ(conflicts, 4 * (stride == 16 ? 0U : stride == 64 ? 3U : 7U));
  }
}

} // namespace
} // namespace sale::emulator::test
