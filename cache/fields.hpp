// SPDX-License-Identifier: Apache-2.0
// What the headers of cache files are made of: little-endian numbers, and labels with their values, each after its
// length. The reader takes any bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace sale {

void write_number(unsigned char *to, std::uint64_t value, int bytes);
std::uint64_t read_number(std::span<const unsigned char> bytes);

class FieldWriter {
public:
  void field(std::string_view label, std::string_view value);
  std::string take() { return std::move(out_); }

private:
  void text(std::string_view value);
  std::string out_;
};

/// Reads fields in the order in which they were written; after the first surprise every read gives nothing.
class FieldReader {
public:
  explicit FieldReader(std::span<const unsigned char> bytes) : rest_(bytes) {}

  std::string field(std::string_view label);
  /// Decimal digits; anything above `most`, or with zeros in front, is a surprise.
  std::uint64_t number(std::string_view label, std::uint64_t most);

  bool good() const { return good_; }
  bool at_end() const { return rest_.empty(); }

private:
  std::string_view text();
  std::span<const unsigned char> rest_;
  bool good_ = true;
};

} // namespace sale
