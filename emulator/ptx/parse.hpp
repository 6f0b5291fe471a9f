// SPDX-License-Identifier: Apache-2.0
// The text of one inline-asm statement, as it stands in LLVM IR ($0 for %0), cut into PTX statements.
#pragma once

#include "emulator/ptx/instruction.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sale::emulator::ptx {

struct Value {
  enum class Kind {
    operand, ///< %index of the asm statement
    local,   ///< registers[index], declared in the text
    integer, ///< bits
    real,    ///< bits, of an f32 (0f3F800000) when width is 32, else of an f64
    special, ///< name: "%tid.x"
    label,   ///< name
    sink     ///< _
  };
  Kind kind = Kind::sink;
  int index = 0;
  u64 bits = 0;
  int width = 64;
  std::string name = {};
  bool negated = false; ///< !p
};

struct Argument {
  enum class Shape {
    scalar,
    vector,  ///< {a, b}
    pair,    ///< d|p
    address, ///< [a + offset], or [map, {x, y}]: the address, then the coordinates
  };
  Shape shape = Shape::scalar;
  std::vector<Value> values;
  std::int64_t offset = 0;
};

struct Statement {
  std::string label; ///< Not empty: this is a label, and nothing below is set.
  std::optional<Value> guard;
  std::vector<std::string> parts; ///< The opcode cut at its dots.
  std::vector<Argument> arguments;
  std::string text; ///< As written, operands as %0.
};

struct Register {
  std::string name;
  int width = 0; ///< In bits; 1 for a predicate.
};

struct Assembly {
  std::vector<Register> registers;
  std::vector<Statement> statements;
};

/// Throws Error(compile) that quotes what it did not understand.
Assembly parse(std::string_view text);

} // namespace sale::emulator::ptx
