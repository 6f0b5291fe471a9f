// SPDX-License-Identifier: Apache-2.0
// Words, numbers and signs of PTX text.
#pragma once

#include "emulator/ptx/instruction.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace sale::emulator::ptx {

struct Token {
  enum class Kind {
    word,    ///< add.rn.f32, .reg, p, %tid.x, LABEL
    operand, ///< $3; bits is 3
    integer, ///< bits
    real,    ///< bits and width
    sign,    ///< one character of {}[](),;:@!|<>+-
    end
  };
  Kind kind = Kind::end;
  std::string text;
  u64 bits = 0;
  int width = 64;
  std::size_t begin = 0; ///< Where it stands in the text.
  std::size_t end = 0;

  bool is(char sign) const { return kind == Kind::sign && text[0] == sign; }
};

/// Ends with an end token. Throws Error(compile).
std::vector<Token> tokenize(std::string_view text);

} // namespace sale::emulator::ptx
