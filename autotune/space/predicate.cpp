// SPDX-License-Identifier: Apache-2.0
#include "autotune/space/predicate.hpp"

#include "autotune/space/kernel_numbers.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <optional>
#include <string_view>

namespace sale::autotune {

namespace {

struct Sign {
  std::string_view text;
  Operation operation;
};

constexpr std::array comparisons = {Sign{"<=", Operation::less_equal}, Sign{">=", Operation::greater_equal},
                                    Sign{"==", Operation::equal},      Sign{"!=", Operation::not_equal},
                                    Sign{"<", Operation::less},        Sign{">", Operation::greater}};
constexpr std::array sums = {Sign{"+", Operation::add}, Sign{"-", Operation::subtract}};
constexpr std::array products = {Sign{"*", Operation::multiply}, Sign{"/", Operation::divide},
                                 Sign{"%", Operation::remainder}};
constexpr std::size_t most_digits = 9;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || c == '_'; }

[[noreturn]] void refuse(std::size_t column, const std::string &sentence) {
  throw Error(ErrorKind::invalid_argument, fmt::format("column {}: {}", column, sentence));
}

} // namespace

// One function per level of binding, the loosest first.
class PredicateParser {
public:
  explicit PredicateParser(Predicate &predicate) : predicate_(predicate), text_(predicate.text_) {}

  void run() {
    predicate_.root_ = alternatives();
    skip_spaces();
    if (at_ < text_.size()) {
      refuse(column(), "an operator or the end must follow here");
    }
    require(predicate_.root_, true);
  }

private:
  using Node = Predicate::Node;

  std::size_t column() const { return at_ + 1; }

  void skip_spaces() {
    while (at_ < text_.size() && text_[at_] == ' ') {
      ++at_;
    }
  }

  bool take(std::string_view sign) {
    skip_spaces();
    if (text_.substr(at_, sign.size()) != sign) {
      return false;
    }
    at_ += sign.size();
    return true;
  }

  std::string_view word() const {
    std::size_t end = at_;
    while (end < text_.size() && (is_letter(text_[end]) || (end > at_ && is_digit(text_[end])))) {
      ++end;
    }
    return text_.substr(at_, end - at_);
  }

  bool take_word(std::string_view wanted) {
    skip_spaces();
    if (word() != wanted) {
      return false;
    }
    at_ += wanted.size();
    return true;
  }

  template <class Signs>
  std::optional<Operation> take_any(const Signs &signs) {
    for (const Sign &sign : signs) {
      if (take(sign.text)) {
        return sign.operation;
      }
    }
    return std::nullopt;
  }

  void require(std::size_t node, bool boolean) const {
    const Node &found = predicate_.nodes_[node];
    if (found.is_boolean != boolean) {
      refuse(found.column,
             boolean ? "a condition must stand here, not a number" : "a number must stand here, not a condition");
    }
  }

  std::size_t add(const Node &node) {
    predicate_.nodes_.push_back(node);
    return predicate_.nodes_.size() - 1;
  }

  std::size_t pair(Operation operation, std::size_t left, std::size_t right, bool is_boolean) {
    return add({.operation = operation,
                .left = left,
                .right = right,
                .column = predicate_.nodes_[left].column,
                .is_boolean = is_boolean});
  }

  std::size_t alternatives() {
    std::size_t left = conditions();
    while (take_word("or")) {
      const std::size_t right = conditions();
      require(left, true);
      require(right, true);
      left = pair(Operation::logical_or, left, right, true);
    }
    return left;
  }

  std::size_t conditions() {
    std::size_t left = condition();
    while (take_word("and")) {
      const std::size_t right = condition();
      require(left, true);
      require(right, true);
      left = pair(Operation::logical_and, left, right, true);
    }
    return left;
  }

  std::size_t condition() {
    skip_spaces();
    const std::size_t start = column();
    if (take_word("not")) {
      const Deeper deeper(*this);
      const std::size_t of = condition();
      require(of, true);
      return add({.operation = Operation::logical_not, .left = of, .column = start, .is_boolean = true});
    }
    const std::size_t left = sum();
    const auto operation = take_any(comparisons);
    if (!operation) {
      return left;
    }
    const std::size_t right = sum();
    require(left, false);
    require(right, false);
    return pair(*operation, left, right, true);
  }

  std::size_t sum() {
    std::size_t left = product();
    while (const auto operation = take_any(sums)) {
      const std::size_t right = product();
      require(left, false);
      require(right, false);
      left = pair(*operation, left, right, false);
    }
    return left;
  }

  std::size_t product() {
    std::size_t left = factor();
    while (const auto operation = take_any(products)) {
      const std::size_t right = factor();
      require(left, false);
      require(right, false);
      left = pair(*operation, left, right, false);
    }
    return left;
  }

  std::size_t factor() {
    skip_spaces();
    const std::size_t start = column();
    if (take("(")) {
      const Deeper deeper(*this);
      const std::size_t inner = alternatives();
      if (!take(")")) {
        refuse(column(), fmt::format("the parenthesis of column {} must be closed here", start));
      }
      return inner;
    }
    if (take("-")) {
      const Deeper deeper(*this);
      const std::size_t of = factor();
      require(of, false);
      return add({.operation = Operation::negate, .left = of, .column = start});
    }
    return at_ < text_.size() && is_digit(text_[at_]) ? number() : name();
  }

  std::size_t number() {
    const std::size_t start = at_;
    std::int64_t value = 0;
    for (; at_ < text_.size() && is_digit(text_[at_]); ++at_) {
      if (at_ - start == most_digits) {
        refuse(start + 1, fmt::format("a number has at most {} digits", most_digits));
      }
      value = 10 * value + (text_[at_] - '0');
    }
    return add({.operation = Operation::number, .value = value, .column = start + 1});
  }

  std::size_t name() {
    const std::string_view found = word();
    if (found.empty()) {
      refuse(column(), "a number, a name or a parenthesis must stand here");
    }
    const auto place = find_kernel_number(found);
    if (!place) {
      refuse(column(), fmt::format("'{}' is not known; names are {}", found, known_names()));
    }
    const std::size_t start = column();
    at_ += found.size();
    return add({.operation = Operation::name,
                .value = static_cast<std::int64_t>(*place),
                .column = start,
                .is_boolean = kernel_numbers()[*place].is_boolean});
  }

  static std::string known_names() {
    std::string names;
    for (const KernelNumber &number : kernel_numbers()) {
      names += fmt::format("{}{}", names.empty() ? "" : ", ", number.name);
    }
    return names;
  }

  class Deeper {
  public:
    explicit Deeper(PredicateParser &parser) : parser_(parser) {
      if (++parser_.depth_ > Predicate::most_depth) {
        refuse(parser_.column(), fmt::format("more than {} levels of nesting", Predicate::most_depth));
      }
    }
    ~Deeper() { --parser_.depth_; }
    Deeper(const Deeper &) = delete;
    Deeper &operator=(const Deeper &) = delete;

  private:
    PredicateParser &parser_;
  };

  Predicate &predicate_;
  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

Predicate Predicate::parse(const std::string &text) {
  if (text.size() > most_text) {
    refuse(most_text + 1, fmt::format("a condition has at most {} characters", most_text));
  }
  Predicate predicate;
  predicate.text_ = text;
  PredicateParser(predicate).run();
  return predicate;
}

bool Predicate::holds(const KernelSpec &spec) const { return value_of(root_, spec) != 0; }

// As deep as the text is long at most.
std::int64_t Predicate::value_of(std::size_t index, const KernelSpec &spec) const {
  const Node &node = nodes_[index];
  switch (node.operation) {
  case Operation::number: return node.value;
  case Operation::name: return kernel_numbers()[static_cast<std::size_t>(node.value)].of(spec);
  case Operation::negate: return combine(node, 0, value_of(node.left, spec));
  case Operation::logical_not: return value_of(node.left, spec) == 0 ? 1 : 0;
  // The right side may lean on the left: "gqa > 0 and rows / gqa > 1".
  case Operation::logical_and: return value_of(node.left, spec) != 0 ? value_of(node.right, spec) : 0;
  case Operation::logical_or: return value_of(node.left, spec) != 0 ? 1 : value_of(node.right, spec);
  default: return combine(node, value_of(node.left, spec), value_of(node.right, spec));
  }
}

std::int64_t Predicate::combine(const Node &node, std::int64_t left, std::int64_t right) const {
  std::int64_t result = 0;
  bool overflows = false;
  switch (node.operation) {
  case Operation::add: overflows = __builtin_add_overflow(left, right, &result); break;
  case Operation::negate:
  case Operation::subtract: overflows = __builtin_sub_overflow(left, right, &result); break;
  case Operation::multiply: overflows = __builtin_mul_overflow(left, right, &result); break;
  case Operation::divide:
  case Operation::remainder:
    if (right == 0) {
      refuse(node.column, fmt::format("\"{}\" divides by 0", text_));
    }
    overflows = right == -1 && left == std::numeric_limits<std::int64_t>::min();
    if (!overflows) {
      result = node.operation == Operation::divide ? left / right : left % right;
    }
    break;
  case Operation::less: result = left < right ? 1 : 0; break;
  case Operation::less_equal: result = left <= right ? 1 : 0; break;
  case Operation::greater: result = left > right ? 1 : 0; break;
  case Operation::greater_equal: result = left >= right ? 1 : 0; break;
  case Operation::equal: result = left == right ? 1 : 0; break;
  case Operation::not_equal: result = left != right ? 1 : 0; break;
  default: break;
  }
  if (overflows) {
    refuse(node.column, fmt::format("\"{}\" leaves the range of 64-bit integers", text_));
  }
  return result;
}

} // namespace sale::autotune
