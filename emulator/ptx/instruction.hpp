// SPDX-License-Identifier: Apache-2.0
// One PTX instruction of an inline-asm statement: parsed once per kernel, executed by a handler once per thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sale::emulator {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using s32 = std::int32_t;
using u64 = std::uint64_t;

class Thread;
struct Instruction;

/// Executes an instruction for one thread. `slot` holds its operands (Operand::slot); results are written there too.
/// May block (Thread::wait) and may never return (fault).
using Handler = void (*)(Thread &thread, const Instruction &instruction, u64 *slot);

struct SourceLine {
  std::string file; ///< below templates/, e.g. "device/mma.cuh"
  int line = 0;
  std::string function;
};

/// Where an instruction stands: innermost function first, then its callers.
struct Site {
  std::vector<SourceLine> lines;

  /// "device/mma.cuh:31 in mma, from attend/attend_tile.cuh:20 in ..".
  std::string describe() const;
};

/// One operand as written. Slots hold raw bits, zero-extended: f32 as its 32 bits, s32 as u32, a predicate as 0 or 1
/// (!p is already negated). A result's bits above its register's width are dropped: ld.s8 extends the sign through
/// all 64.
struct Operand {
  int slot = 0;  ///< The first one.
  int count = 1; ///< {a, b, c} has three; [map, {x, y}] has three: the address, then the coordinates; d|p has two.
  bool address = false; ///< Written in brackets; an offset is already added to the slot's value.
  bool sink = false;    ///< Written "_": the result is dropped.
  bool predicate = false;
};

struct Instruction {
  std::string text;               ///< As written, with operands replaced by their numbers; for reports.
  std::vector<std::string> parts; ///< The opcode cut at its dots: "cp", "async", "cg", "shared::cta", ..
  std::vector<Operand> operands;
  Site site;
  Handler handler = nullptr;

  bool has(std::string_view part) const;
  const Operand &operand(int i) const { return operands[static_cast<std::size_t>(i)]; }
  /// "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 at device/mma.cuh:31 in ..".
  std::string describe() const;
};

} // namespace sale::emulator
