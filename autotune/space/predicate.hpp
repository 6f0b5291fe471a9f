// SPDX-License-Identifier: Apache-2.0
// Predicate: a condition on kernel_numbers(), "rows % block_q == 0 and not dense". Integers, + - * / %, comparisons,
// and, or, not and parentheses. Types are checked when it is parsed; overflow and division by 0 when it is asked.
#pragma once

#include "generator/kernel_spec.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sale::autotune {

enum class Operation {
  number,
  name,
  negate,
  add,
  subtract,
  multiply,
  divide,
  remainder,
  less,
  less_equal,
  greater,
  greater_equal,
  equal,
  not_equal,
  logical_not,
  logical_and,
  logical_or
};

class Predicate {
public:
  static constexpr std::size_t most_text = 512;
  static constexpr int most_depth = 32; ///< Of parentheses, signs and nots.

  /// Throws Error(invalid_argument) "column N: ...".
  static Predicate parse(const std::string &text);

  /// Throws Error(invalid_argument) where it cannot be computed for the spec.
  bool holds(const KernelSpec &spec) const;

  const std::string &text() const { return text_; }

private:
  friend class PredicateParser;

  struct Node {
    Operation operation = Operation::number;
    std::int64_t value = 0; ///< A number, or the place of a name.
    std::size_t left = 0, right = 0;
    std::size_t column = 0;
    bool is_boolean = false;
  };

  std::int64_t value_of(std::size_t node, const KernelSpec &spec) const;
  std::int64_t combine(const Node &node, std::int64_t left, std::int64_t right) const;

  std::string text_;
  std::vector<Node> nodes_;
  std::size_t root_ = 0;
};

} // namespace sale::autotune
