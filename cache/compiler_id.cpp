// SPDX-License-Identifier: Apache-2.0
#include "cache/compiler_id.hpp"

#include <cstddef>
#include <string_view>

namespace sale {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Takes the digits at the front, without their leading zeros: by length, then text, they compare as numbers of any
// size.
std::string_view take_number(std::string_view &text) {
  std::size_t end = 0;
  while (end < text.size() && is_digit(text[end])) {
    ++end;
  }
  std::string_view digits = text.substr(0, end);
  text.remove_prefix(end);
  while (digits.size() > 1 && digits.front() == '0') {
    digits.remove_prefix(1);
  }
  return digits;
}

} // namespace

int compare_versions(const std::string &a, const std::string &b) {
  std::string_view rest_a = a;
  std::string_view rest_b = b;
  while (!rest_a.empty() && !rest_b.empty()) {
    if (is_digit(rest_a.front()) && is_digit(rest_b.front())) {
      const std::string_view number_a = take_number(rest_a);
      const std::string_view number_b = take_number(rest_b);
      if (number_a.size() != number_b.size()) {
        return number_a.size() < number_b.size() ? -1 : 1;
      }
      if (const int order = number_a.compare(number_b); order != 0) {
        return order;
      }
    } else if (rest_a.front() != rest_b.front()) {
      return rest_a.front() < rest_b.front() ? -1 : 1;
    } else {
      rest_a.remove_prefix(1);
      rest_b.remove_prefix(1);
    }
  }
  return static_cast<int>(!rest_a.empty()) - static_cast<int>(!rest_b.empty());
}

bool is_newer(const CompilerId &a, const CompilerId &b) {
  const int versions = compare_versions(a.version, b.version);
  if (versions != 0) {
    return versions > 0;
  }
  return a.build != b.build ? a.build > b.build : a.version > b.version;
}

} // namespace sale
