// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/tensor_copy.hpp"

#include "emulator/instructions/address.hpp"
#include "emulator/instructions/bulk_copy.hpp"
#include "emulator/instructions/mbarrier.hpp"
#include "emulator/instructions/tensor_map.hpp"
#include "emulator/machine/global_memory.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sale::emulator {

namespace {

constexpr u32 chunk_bytes = 16;
constexpr u32 shared_alignment = 128;

// The part of a box's row that lies in the tensor; the rest is filled (loads) or dropped (stores).
struct Row {
  u8 *global = nullptr;
  u32 first = 0; // byte of the row
  u32 bytes = 0;
};

struct Box {
  TensorMap map;
  std::vector<Row> rows;
};

TensorMap map_operand(Thread &thread, const Instruction &instruction, u64 address) {
  if (address % 64 != 0 || address == 0) {
    fault(thread, instruction, fmt::format("a tensor map at {:#x}; its address must be aligned to 64 bytes", address));
  }
  u32 shared = 0;
  if (is_shared(thread, Space::generic, address, shared)) {
    fault(thread, instruction, "a tensor map in shared memory; it is a parameter, or in constant or global memory");
  }
  TensorMap map;
  const std::string wrong = decode_tensor_map(reinterpret_cast<const void *>(address), map);
  if (!wrong.empty()) {
    fault(thread, instruction, wrong);
  }
  return map;
}

// Row `index` of the box at `corner`, dimension 1 varying fastest. A store writes whole chunks: up to 15 bytes past the
// tensor's own row (so an H100 does).
Row row_of(const TensorMap &map, const s32 *corner, u32 index, bool write) {
  u64 address = map.address;
  for (u32 i = 1; i < map.rank; ++i) {
    const long long at = corner[i] + static_cast<long long>(index % map.count(i)) * map.element_strides[i];
    if (at < 0 || static_cast<u64>(at) >= map.dimensions[i]) {
      return {};
    }
    address += static_cast<u64>(at) * map.strides[i - 1];
    index /= map.count(i);
  }
  const long long element = map.element_bytes();
  const long long start = corner[0] * element;
  const auto row_end = static_cast<long long>(map.dimensions[0]) * element;
  const long long first = std::max(start, 0LL);
  const long long last = std::min(start + map.row_bytes(), write ? (row_end + 15) / 16 * 16 : row_end);
  if (first >= last) {
    return {};
  }
  return {reinterpret_cast<u8 *>(address + static_cast<u64>(first)), static_cast<u32>(first - start),
          static_cast<u32>(last - first)};
}

// What PTX does not say, but an H100 takes as an illegal instruction.
void check_corner(Thread &thread, const Instruction &instruction, const TensorMap &map, const s32 *corner, bool write) {
  const u32 element = map.element_bytes();
  if (static_cast<long long>(corner[0]) * element % chunk_bytes != 0) {
    fault(thread, instruction,
          fmt::format("innermost coordinate {} of {}-byte elements; it must be at a multiple of {} bytes", corner[0],
                      element, chunk_bytes));
  }
  for (u32 i = 0; write && i < map.rank; ++i) {
    if (corner[i] < 0) {
      fault(thread, instruction, fmt::format("coordinate {} is {}; stores take none below 0", i, corner[i]));
    }
  }
}

Box box_operand(Thread &thread, const Instruction &instruction, const u64 *slot, const Operand &operand, bool write) {
  Box box;
  box.map = map_operand(thread, instruction, slot[operand.slot]);
  const u32 rank = static_cast<u32>(operand.count - 1);
  if (rank != box.map.rank || !instruction.has(fmt::format("{}d", rank))) {
    fault(thread, instruction, fmt::format("{} coordinates for a tensor map of {} dimensions", rank, box.map.rank));
  }
  std::array<s32, TensorMap::max_rank> corner{};
  for (u32 i = 0; i < rank; ++i) {
    corner[i] = static_cast<s32>(slot[operand.slot + 1 + static_cast<int>(i)]);
  }
  check_corner(thread, instruction, box.map, corner.data(), write);
  for (u32 i = 0; i < box.map.rows(); ++i) {
    const Row &row = box.rows.emplace_back(row_of(box.map, corner.data(), i, write));
    if (row.bytes > 0) {
      check_global(thread, instruction, row.global, row.bytes, box.map.element_bytes(), write);
    }
  }
  return box;
}

u32 shared_operand(Thread &thread, const Instruction &instruction, u64 address) {
  if (address % shared_alignment != 0) {
    fault(thread, instruction,
          fmt::format("a box at shared address {:#x}; it must be aligned to {} bytes", address, shared_alignment));
  }
  return static_cast<u32>(std::min<u64>(address, 0xffffff80U)); // beyond the window, so that it faults
}

// A piece of shared memory, and where its bytes are in the box (rows one after the other).
struct Chunk {
  u32 shared;
  u32 box;
};

// By ascending shared address.
std::vector<Chunk> chunks_of(const TensorMap &map, u32 address) {
  std::vector<Chunk> chunks;
  const u32 rows = map.rows();
  for (u32 row = 0; row < rows; ++row) {
    for (u32 i = 0; i < map.row_bytes(); i += chunk_bytes) {
      chunks.push_back(
          {swizzle_address(address + row * map.pitch() + i, map.swizzle_span()), row * map.row_bytes() + i});
    }
  }
  std::sort(chunks.begin(), chunks.end(), [](const Chunk &x, const Chunk &y) { return x.shared < y.shared; });
  return chunks;
}

// begin(address, bytes) for each run of neighbours.
template <class Begin>
std::vector<AsyncAccess> begin_runs(const std::vector<Chunk> &chunks, const Begin &begin) {
  std::vector<AsyncAccess> accesses;
  for (std::size_t i = 0; i < chunks.size();) {
    std::size_t end = i + 1;
    while (end < chunks.size() && chunks[end].shared == chunks[end - 1].shared + chunk_bytes) {
      ++end;
    }
    accesses.push_back(begin(chunks[i].shared, static_cast<u32>(end - i) * chunk_bytes));
    i = end;
  }
  return accesses;
}

// Out of bounds: zero, or the NaN that the hardware has for every type (measured on an H100).
void fill(std::vector<u8> &bytes, const TensorMap &map) {
  for (std::size_t i = 0; map.fill != 0 && i < bytes.size(); i += 2) {
    bytes[i] = 0xf7;
    bytes[i + 1] = 0x7f;
  }
}

std::vector<u8> read_box(const Box &box) {
  std::vector<u8> bytes(box.map.box_bytes());
  fill(bytes, box.map);
  u8 *to = bytes.data();
  for (const Row &row : box.rows) {
    std::copy_n(row.global, row.bytes, to + row.first);
    to += box.map.row_bytes();
  }
  return bytes;
}

void write_box(const Box &box, const u8 *bytes) {
  for (const Row &row : box.rows) {
    std::copy_n(bytes + row.first, row.bytes, row.global);
    bytes += box.map.row_bytes();
  }
}

void execute_load(Thread &thread, const Instruction &instruction, u64 *slot) {
  const u32 destination = shared_operand(thread, instruction, slot[instruction.operand(0).slot]);
  Box box = box_operand(thread, instruction, slot, instruction.operand(1), false);
  const auto address = static_cast<u32>(std::min<u64>(slot[instruction.operand(2).slot], 0xffffffffU));
  Cta &cta = thread.cta();
  Mbarriers &barriers = cta.state<Mbarriers>();
  Mbarrier &barrier = barriers.begin_copy(thread, instruction, address, box.map.box_bytes());
  std::vector<Chunk> chunks = chunks_of(box.map, destination);
  std::vector<AsyncAccess> accesses = begin_runs(chunks, [&](u32 from, u32 bytes) {
    return cta.shared().begin_write(thread, instruction, from, bytes, chunk_bytes);
  });
  cta.post([&cta, &instruction, &barriers, &barrier, accesses = std::move(accesses), chunks = std::move(chunks),
            box = std::move(box)] {
    const std::vector<u8> rows = read_box(box);
    std::vector<u8> data(rows.size());
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      std::copy_n(rows.data() + chunks[i].box, chunk_bytes, data.data() + i * chunk_bytes);
    }
    const u8 *from = data.data();
    for (const AsyncAccess &access : accesses) {
      cta.shared().land_on(barrier.filling(), barrier.agent(), access, from, Proxy::async);
      from += access.bytes;
    }
    barriers.end_copy(cta, instruction, barrier, box.map.box_bytes());
  });
}

void execute_store(Thread &thread, const Instruction &instruction, u64 *slot) {
  Box box = box_operand(thread, instruction, slot, instruction.operand(0), true);
  const u32 source = shared_operand(thread, instruction, slot[instruction.operand(1).slot]);
  std::vector<Chunk> chunks = chunks_of(box.map, source);
  std::vector<AsyncAccess> accesses = begin_runs(chunks, [&](u32 from, u32 bytes) {
    return thread.cta().shared().begin_read(thread, instruction, from, bytes, chunk_bytes, Proxy::async);
  });
  thread.state<BulkStores>().add(instruction, std::move(accesses),
                                 [chunks = std::move(chunks), box = std::move(box)](const u8 *data) {
                                   std::vector<u8> rows(box.map.box_bytes());
                                   for (std::size_t i = 0; i < chunks.size(); ++i) {
                                     std::copy_n(data + i * chunk_bytes, chunk_bytes, rows.data() + chunks[i].box);
                                   }
                                   write_box(box, rows.data());
                                 });
}

void execute_prefetch(Thread &thread, const Instruction &instruction, u64 *slot) {
  box_operand(thread, instruction, slot, instruction.operand(0), false);
}

void execute_prefetch_map(Thread &thread, const Instruction &instruction, u64 *slot) {
  map_operand(thread, instruction, slot[instruction.operand(0).slot]);
}

} // namespace

Handler find_tensor_copy(const Instruction &instruction) {
  const std::vector<std::string> &parts = instruction.parts;
  if (parts[0] == "prefetch" && instruction.has("tensormap")) {
    return execute_prefetch_map;
  }
  if (parts.size() < 6 || parts[0] != "cp" || parts[1] != "async" || parts[2] != "bulk") {
    return nullptr;
  }
  for (const std::string &part : parts) { // no clusters of several CTAs, no layout but tiles
    if (part.starts_with("multicast") || part.starts_with("cta_group") || part.starts_with("im2col") ||
        part.starts_with("tile::")) {
      return nullptr;
    }
  }
  if (parts[3] == "prefetch") {
    return parts[4] == "tensor" ? execute_prefetch : nullptr;
  }
  if (parts[3] != "tensor") {
    return nullptr;
  }
  if ((parts[5] == "shared::cluster" || parts[5] == "shared::cta") && instruction.has("mbarrier::complete_tx::bytes")) {
    return execute_load;
  }
  return parts[5] == "global" && instruction.has("bulk_group") ? execute_store : nullptr;
}

} // namespace sale::emulator
