// SPDX-License-Identifier: Apache-2.0
#include "emulator/ptx/tokens.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <bit>
#include <cctype>
#include <charconv>
#include <cstdlib>

namespace sale::emulator::ptx {

namespace {

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '%'; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_alphanumeric(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

class Tokenizer {
public:
  explicit Tokenizer(std::string_view text) : text_(text) {}

  std::vector<Token> run() {
    for (skip_blank(); at_ < text_.size(); skip_blank()) {
      Token token = next();
      token.begin = begin_;
      token.end = at_;
      tokens_.push_back(std::move(token));
    }
    Token end;
    end.begin = end.end = text_.size();
    tokens_.push_back(end);
    return std::move(tokens_);
  }

private:
  [[noreturn]] void refuse(const std::string &what) const {
    throw Error(ErrorKind::compile, fmt::format("the emulator does not understand the PTX text `{}`: {}", text_, what));
  }

  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void skip_blank() {
    while (at_ < text_.size()) {
      const std::string_view rest = text_.substr(at_);
      if (std::isspace(static_cast<unsigned char>(rest[0])) != 0) {
        ++at_;
      } else if (rest.starts_with("//")) {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (rest.starts_with("/*")) {
        const std::size_t end = text_.find("*/", at_ + 2);
        if (end == std::string_view::npos) {
          refuse("a comment has no end");
        }
        at_ = end + 2;
      } else {
        break;
      }
    }
    begin_ = at_;
  }

  Token next() {
    const char c = peek();
    if (c == '$' && is_digit(peek(1))) {
      return operand();
    }
    if (is_digit(c)) {
      return number();
    }
    if (is_letter(c) || c == '.' || c == '$') {
      return word();
    }
    if (std::string_view("{}[](),;:@!|<>+-").find(c) != std::string_view::npos) {
      ++at_;
      return {Token::Kind::sign, std::string(1, c)};
    }
    refuse(fmt::format("`{}` begins nothing", c));
  }

  Token operand() {
    ++at_;
    u64 index = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), index);
    if (error != std::errc{}) {
      refuse("an operand's number is too large");
    }
    at_ = static_cast<std::size_t>(end - text_.data());
    return {Token::Kind::operand, fmt::format("%{}", index), index};
  }

  // Opcodes and names, with ${:uid} (%= in the source, which makes a label unique) left out: labels are the
  // statement's own here.
  Token word() {
    Token token{Token::Kind::word, {}};
    while (true) {
      if (text_.substr(at_).starts_with("${:uid}")) {
        at_ += 7;
      } else if (peek() == '$' && peek(1) == '$') {
        token.text += '$';
        at_ += 2;
      } else if (is_letter(peek()) || is_digit(peek()) || peek() == '.') {
        token.text += text_[at_++];
      } else if (peek() == ':' && peek(1) == ':' && is_alphanumeric(peek(2))) {
        token.text += "::";
        at_ += 2;
      } else {
        break;
      }
    }
    if (token.text.empty()) {
      refuse(fmt::format("`{}` names no operand", text_.substr(at_, 8)));
    }
    return token;
  }

  Token number() {
    std::size_t end = at_;
    while (end < text_.size() && (is_alphanumeric(text_[end]) || text_[end] == '.' ||
                                  ((text_[end] == '+' || text_[end] == '-') && is_exponent(end)))) {
      ++end;
    }
    const std::string word(text_.substr(at_, end - at_));
    at_ = end;
    return number(word);
  }

  // Whether the sign at `i` follows the e of a decimal float.
  bool is_exponent(std::size_t i) const {
    return (text_[i - 1] == 'e' || text_[i - 1] == 'E') &&
           text_.substr(at_, i - at_).find('.') != std::string_view::npos;
  }

  Token number(const std::string &word) const {
    const auto bits = [&](std::size_t skip, int base, std::string_view digits) {
      u64 value = 0;
      digits.remove_prefix(skip);
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
      if (error != std::errc{} || end != digits.data() + digits.size()) {
        refuse(fmt::format("`{}` is not a number", word));
      }
      return value;
    };
    const char second = word.size() > 2 && word[0] == '0' ? word[1] : '\0';
    if ((second == 'f' || second == 'F') && word.size() == 10) {
      return {Token::Kind::real, word, bits(2, 16, word), 32};
    }
    if ((second == 'd' || second == 'D') && word.size() == 18) {
      return {Token::Kind::real, word, bits(2, 16, word), 64};
    }
    if (word.find('.') != std::string::npos) {
      char *end = nullptr;
      const double value = std::strtod(word.c_str(), &end);
      if (*end != '\0') {
        refuse(fmt::format("`{}` is not a number", word));
      }
      return {Token::Kind::real, word, std::bit_cast<u64>(value), 64};
    }
    std::string_view digits = word;
    if (digits.ends_with('U')) {
      digits.remove_suffix(1);
    }
    if (second == 'x' || second == 'X') {
      return {Token::Kind::integer, word, bits(2, 16, digits)};
    }
    if (second == 'b' || second == 'B') {
      return {Token::Kind::integer, word, bits(2, 2, digits)};
    }
    return {Token::Kind::integer, word, bits(0, digits.size() > 1 && digits[0] == '0' ? 8 : 10, digits)};
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t begin_ = 0;
  std::vector<Token> tokens_;
};

} // namespace

std::vector<Token> tokenize(std::string_view text) { return Tokenizer(text).run(); }

} // namespace sale::emulator::ptx
