// SPDX-License-Identifier: Apache-2.0
#include "cache/fields.hpp"

#include <charconv>
#include <system_error>

namespace sale {

void write_number(unsigned char *to, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) {
    to[i] = static_cast<unsigned char>(value >> (8 * i));
  }
}

std::uint64_t read_number(std::span<const unsigned char> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) {
    value = value << 8 | bytes[i];
  }
  return value;
}

void FieldWriter::field(std::string_view label, std::string_view value) {
  text(label);
  text(value);
}

void FieldWriter::text(std::string_view value) {
  unsigned char size[4];
  write_number(size, value.size(), 4);
  out_.append(size, size + 4);
  out_ += value;
}

std::string FieldReader::field(std::string_view label) {
  if (text() != label) {
    good_ = false;
  }
  return std::string(text());
}

std::uint64_t FieldReader::number(std::string_view label, std::uint64_t most) {
  const std::string digits = field(label);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || value > most || std::to_string(value) != digits) {
    good_ = false;
    return 0;
  }
  return value;
}

std::string_view FieldReader::text() {
  if (!good_ || rest_.size() < 4) {
    good_ = false;
    return {};
  }
  const std::uint64_t size = read_number(rest_.first(4));
  rest_ = rest_.subspan(4);
  if (size > rest_.size()) {
    good_ = false;
    return {};
  }
  const auto bytes = rest_.first(static_cast<std::size_t>(size));
  rest_ = rest_.subspan(static_cast<std::size_t>(size));
  return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

} // namespace sale
