// SPDX-License-Identifier: Apache-2.0
#include "emulator/ptx/parse.hpp"

#include "emulator/ptx/tokens.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace sale::emulator::ptx {

namespace {

std::vector<std::string> cut_at_dots(const std::string &word) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t dot = word.find('.'); dot != std::string::npos; dot = word.find('.', begin)) {
    parts.push_back(word.substr(begin, dot - begin));
    begin = dot + 1;
  }
  parts.push_back(word.substr(begin));
  return parts;
}

// In bits; 0 for no type of a register.
int register_width(const std::string &type) {
  static const std::map<std::string, int> widths = {
      {".pred", 1}, {".b8", 8},   {".u8", 8},   {".s8", 8},   {".b16", 16},  {".u16", 16},
      {".s16", 16}, {".f16", 16}, {".b32", 32}, {".u32", 32}, {".s32", 32},  {".f32", 32},
      {".b64", 64}, {".u64", 64}, {".s64", 64}, {".f64", 64}, {".f16x2", 32}};
  const auto found = widths.find(type);
  return found == widths.end() ? 0 : found->second;
}

class Parser {
public:
  explicit Parser(std::string_view text) : text_(text), tokens_(tokenize(text)) {}

  Assembly run() {
    int depth = 0;
    while (token().kind != Token::Kind::end) {
      if (take('{')) {
        ++depth;
      } else if (take('}')) {
        if (--depth < 0) {
          refuse("a } closes nothing");
        }
      } else if (!take(';')) {
        statement();
      }
    }
    if (depth != 0) {
      refuse("a { is not closed");
    }
    check_labels();
    return std::move(assembly_);
  }

private:
  [[noreturn]] void refuse(const std::string &what) const {
    throw Error(ErrorKind::compile, fmt::format("the emulator does not understand the PTX text `{}`: {}", text_, what));
  }

  const Token &token(std::size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }

  bool take(char sign) {
    if (!token().is(sign)) {
      return false;
    }
    ++at_;
    return true;
  }

  void expect(char sign) {
    if (!take(sign)) {
      refuse(token().kind == Token::Kind::end ? fmt::format("it ends where `{}` should stand", sign)
                                              : fmt::format("`{}` where `{}` should stand", token().text, sign));
    }
  }

  std::string word(const char *what) {
    if (token().kind != Token::Kind::word) {
      refuse(fmt::format("`{}` where {} should stand", token().text, what));
    }
    return tokens_[at_++].text;
  }

  void statement() {
    if (token().kind == Token::Kind::word && token(1).is(':')) {
      Statement label;
      label.label = word("a label");
      expect(':');
      assembly_.statements.push_back(std::move(label));
    } else if (token().kind == Token::Kind::word && token().text[0] == '.') {
      declaration();
    } else {
      instruction();
    }
  }

  // .reg .b32 a, b; and .reg .b32 r<4>;
  void declaration() {
    const std::string directive = word("a directive");
    if (directive != ".reg") {
      refuse(fmt::format("of the directives only .reg may stand here, not {}", directive));
    }
    const std::string type = word("a register type");
    const int width = register_width(type);
    if (width == 0) {
      refuse(fmt::format("`{}` is no register type", type));
    }
    do {
      const std::string name = word("a register's name");
      if (take('<')) {
        if (token().kind != Token::Kind::integer || token().bits > 1024) {
          refuse(fmt::format("`{}` is no number of registers", token().text));
        }
        const u64 count = tokens_[at_++].bits;
        expect('>');
        for (u64 i = 0; i < count; ++i) {
          declare(fmt::format("{}{}", name, i), width);
        }
      } else {
        declare(name, width);
      }
    } while (take(','));
    expect(';');
  }

  void declare(const std::string &name, int width) {
    if (find_register(name) >= 0) {
      refuse(fmt::format("the register `{}` is declared twice", name));
    }
    assembly_.registers.push_back({name, width});
  }

  int find_register(const std::string &name) const {
    const auto &all = assembly_.registers;
    const auto found = std::find_if(all.begin(), all.end(), [&](const Register &r) { return r.name == name; });
    return found == all.end() ? -1 : static_cast<int>(found - all.begin());
  }

  void instruction() {
    Statement made;
    const std::size_t first = at_;
    if (take('@')) {
      made.guard = value();
    }
    made.parts = cut_at_dots(word("an instruction"));
    if (!token().is(';')) {
      do {
        made.arguments.push_back(argument());
      } while (take(','));
    }
    made.text = text_between(first, at_);
    expect(';');
    assembly_.statements.push_back(std::move(made));
  }

  Argument argument() {
    Argument made;
    if (take('{')) {
      made.shape = Argument::Shape::vector;
      made.values = values_until('}');
    } else if (take('[')) {
      made = address();
    } else {
      made.values.push_back(value());
      if (take('|')) {
        made.shape = Argument::Shape::pair;
        made.values.push_back(value());
      }
    }
    return made;
  }

  Argument address() {
    Argument made;
    made.shape = Argument::Shape::address;
    made.values.push_back(value());
    while (token().is('+') || token().is('-')) {
      bool minus = take('-');
      if (!minus) {
        expect('+');
        minus = take('-');
      }
      if (token().kind != Token::Kind::integer) {
        refuse(fmt::format("`{}` is no offset of an address", token().text));
      }
      const auto offset = static_cast<std::int64_t>(tokens_[at_++].bits);
      made.offset += minus ? -offset : offset;
    }
    while (take(',')) {
      if (take('{')) {
        const std::vector<Value> more = values_until('}');
        made.values.insert(made.values.end(), more.begin(), more.end());
      } else {
        made.values.push_back(value());
      }
    }
    expect(']');
    return made;
  }

  std::vector<Value> values_until(char close) {
    std::vector<Value> values;
    do {
      values.push_back(value());
    } while (take(','));
    expect(close);
    return values;
  }

  Value value() {
    Value made;
    made.negated = take('!');
    const bool minus = take('-');
    const Token read = token();
    ++at_;
    made.bits = read.bits;
    made.width = read.width;
    switch (read.kind) {
    case Token::Kind::operand:
      made.kind = Value::Kind::operand;
      made.index = static_cast<int>(read.bits);
      break;
    case Token::Kind::integer:
      made.kind = Value::Kind::integer;
      made.bits = minus ? 0 - read.bits : read.bits;
      return made;
    case Token::Kind::real:
      made.kind = Value::Kind::real;
      made.bits = minus ? read.bits ^ (u64{1} << (read.width - 1)) : read.bits;
      return made;
    case Token::Kind::word: name(made, read.text); break;
    default:
      refuse(read.kind == Token::Kind::end ? "it ends where an operand should stand"
                                           : fmt::format("`{}` where an operand should stand", read.text));
    }
    if (minus) {
      refuse(fmt::format("only a number can be negative, not `{}`", read.text));
    }
    return made;
  }

  void name(Value &made, const std::string &text) const {
    made.index = find_register(text);
    made.name = text;
    if (text == "_") {
      made.kind = Value::Kind::sink;
    } else if (made.index >= 0) {
      made.kind = Value::Kind::local;
    } else if (text[0] == '%') {
      made.kind = Value::Kind::special;
    } else {
      made.kind = Value::Kind::label;
    }
  }

  // A name that is not declared can only be where a branch goes.
  void check_labels() const {
    const auto is_label = [&](const std::string &name) {
      return std::any_of(assembly_.statements.begin(), assembly_.statements.end(),
                         [&](const Statement &s) { return s.label == name; });
    };
    const auto check = [&](const Statement &statement, const Value &value) {
      if (value.kind == Value::Kind::label && (statement.parts[0] != "bra" || !is_label(value.name))) {
        refuse(fmt::format("`{}` is not declared", value.name));
      }
    };
    for (const Statement &statement : assembly_.statements) {
      if (statement.guard) {
        check(statement, *statement.guard);
      }
      for (const Argument &argument : statement.arguments) {
        std::for_each(argument.values.begin(), argument.values.end(), [&](const Value &v) { check(statement, v); });
      }
    }
  }

  // The text of tokens [first, last), blanks as one space and operands as %0.
  std::string text_between(std::size_t first, std::size_t last) const {
    std::string text;
    for (std::size_t i = first; i < last; ++i) {
      if (i > first && tokens_[i].begin > tokens_[i - 1].end) {
        text += ' ';
      }
      text += tokens_[i].text;
    }
    return text;
  }

  std::string_view text_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  Assembly assembly_;
};

} // namespace

Assembly parse(std::string_view text) { return Parser(text).run(); }

} // namespace sale::emulator::ptx
