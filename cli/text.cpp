// SPDX-License-Identifier: Apache-2.0
#include "cli/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace sale::cli {

namespace {

bool is_number(const std::string &text) { return text.find_first_not_of("0123456789.") == std::string::npos; }

} // namespace

std::string Table::text() const {
  std::vector<std::size_t> widths(rows_.front().size());
  std::vector<bool> numbers(rows_.front().size(), true);
  for (std::size_t row = 0; row < rows_.size(); ++row) {
    for (std::size_t column = 0; column < widths.size(); ++column) {
      widths[column] = std::max(widths[column], rows_[row][column].size());
      numbers[column] = numbers[column] && (row == 0 || is_number(rows_[row][column]));
    }
  }
  std::string text;
  for (const std::vector<std::string> &row : rows_) {
    std::string line;
    for (std::size_t column = 0; column < widths.size(); ++column) {
      line += numbers[column] ? fmt::format("{:>{}}  ", row[column], widths[column])
                              : fmt::format("{:<{}}  ", row[column], widths[column]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

std::string json_text(const nlohmann::ordered_json &json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string bytes_text(std::size_t bytes) {
  constexpr std::array units = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < units.size()) {
    value /= 1024.0;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} bytes", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

std::string head_dims_text(const Problem &problem) {
  const int v_head_dim = effective_v_head_dim(problem);
  const std::string text = fmt::format("head_dim {}", problem.head_dim);
  return v_head_dim == problem.head_dim ? text : fmt::format("{}, v_head_dim {}", text, v_head_dim);
}

} // namespace sale::cli
