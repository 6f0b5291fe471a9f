// SPDX-License-Identifier: Apache-2.0
// Small things that make output easy to read: aligned tables and sizes.
#pragma once

#include "sale/types.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace sale::cli {

/// A table with columns as wide as their widest cell; numbers right-aligned.
class Table {
public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const;

private:
  std::vector<std::vector<std::string>> rows_;
};

/// Indented, with U+FFFD where text is not UTF-8: file names and driver strings may be any bytes.
std::string json_text(const nlohmann::ordered_json &json);

/// "1.5 MiB".
std::string bytes_text(std::size_t bytes);

/// "head_dim 128", or with its v_head_dim where that differs.
std::string head_dims_text(const Problem &problem);

} // namespace sale::cli
