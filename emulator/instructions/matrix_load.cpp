// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/matrix_load.hpp"

#include "emulator/instructions/address.hpp"

#include <array>
#include <cstring>

namespace sale::emulator {

namespace {

constexpr u32 row_bytes = 16;
constexpr int tile_rows = 8;

/// An 8x8 tile of 16-bit elements.
using Tile = std::array<std::array<u16, 8>, tile_rows>;

/// A lane's two elements of a tile: row lane/4, columns 2(lane%4) and one more; transposed, the other way round.
template <bool transposed>
void load_fragment(const Tile &tile, std::size_t lane, u64 &word) {
  const std::size_t major = lane / 4;
  const std::size_t minor = lane % 4 * 2;
  const u32 low = transposed ? tile[minor][major] : tile[major][minor];
  const u32 high = transposed ? tile[minor + 1][major] : tile[major][minor + 1];
  word = low | high << 16U;
}

template <bool transposed>
void store_fragment(Tile &tile, std::size_t lane, u64 word) {
  const std::size_t major = lane / 4;
  const std::size_t minor = lane % 4 * 2;
  (transposed ? tile[minor][major] : tile[major][minor]) = static_cast<u16>(word);
  (transposed ? tile[minor + 1][major] : tile[major][minor + 1]) = static_cast<u16>(word >> 16U);
}

/// The shared-window address in the lane's slot.
template <Space space>
u32 row_address(Thread &thread, const Instruction &instruction, u64 address) {
  u32 shared = 0;
  if (!is_shared(thread, space, address, shared)) {
    fault(thread, instruction, "the row address is not in shared memory");
  }
  return shared;
}

/// Lane i gives the address of row i%8 of tile i/8; each lane checks its own, so that a report names it. Then the last
/// lane moves all tiles.
template <bool is_load, bool transposed, Space space>
void move_tiles(Thread &thread, const Instruction &instruction, u64 *slot) {
  const Operand &pointer = instruction.operand(is_load ? 1 : 0);
  const Operand &words = instruction.operand(is_load ? 0 : 1);
  SharedMemory &shared = thread.cta().shared();
  if (thread.lane() < static_cast<u32>(tile_rows * words.count)) {
    const u32 address = row_address<space>(thread, instruction, slot[pointer.slot]);
    if constexpr (is_load) {
      shared.read(thread, instruction, address, row_bytes, row_bytes);
    } else {
      shared.write(thread, instruction, address, row_bytes, row_bytes);
    }
  }
  thread.warp().collective(thread, instruction, slot, [&](const LaneSlots &lanes) {
    u8 *base = shared.base();
    for (int i = 0; i < words.count; ++i) {
      std::array<u32, tile_rows> addresses{};
      std::array<u8 *, tile_rows> rows{};
      for (std::size_t row = 0; row < tile_rows; ++row) {
        const std::size_t lane = static_cast<std::size_t>(i) * tile_rows + row;
        addresses[row] = row_address<space>(thread, instruction, lanes[lane][pointer.slot]);
        rows[row] = base + (addresses[row] - SharedMemory::first_address);
      }
      shared.count_conflicts(instruction, addresses.data(), tile_rows, row_bytes);
      Tile tile{};
      if constexpr (is_load) {
        for (std::size_t row = 0; row < tile_rows; ++row) {
          std::memcpy(tile[row].data(), rows[row], row_bytes);
        }
      }
      for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
        u64 *word = lanes[lane] + words.slot + i;
        if constexpr (is_load) {
          load_fragment<transposed>(tile, lane, *word);
        } else {
          store_fragment<transposed>(tile, lane, *word);
        }
      }
      if constexpr (!is_load) {
        for (std::size_t row = 0; row < tile_rows; ++row) {
          std::memcpy(rows[row], tile[row].data(), row_bytes);
        }
      }
    }
  });
}

template <bool is_load, Space space>
Handler of_order(const Instruction &instruction) {
  return instruction.has("trans") ? move_tiles<is_load, true, space> : move_tiles<is_load, false, space>;
}

template <bool is_load>
Handler of_space(const Instruction &instruction) {
  return space_of(instruction) == Space::shared ? of_order<is_load, Space::shared>(instruction)
                                                : of_order<is_load, Space::generic>(instruction);
}

} // namespace

Handler find_matrix_load(const Instruction &instruction) {
  const bool known = instruction.has("sync") && instruction.has("m8n8") && instruction.parts.back() == "b16";
  if (known && instruction.parts[0] == "ldmatrix") {
    return of_space<true>(instruction);
  }
  return known && instruction.parts[0] == "stmatrix" ? of_space<false>(instruction) : nullptr;
}

} // namespace sale::emulator
