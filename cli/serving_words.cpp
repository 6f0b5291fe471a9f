// SPDX-License-Identifier: Apache-2.0
#include "cli/serving_words.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <charconv>
#include <string_view>

namespace sale::cli {

namespace {

[[noreturn]] void refuse(const std::string &word) {
  throw Error(ErrorKind::invalid_argument,
              fmt::format("unknown way of serving {:?}; give plain, ragged, paged:KEYS, coded:KEYS or parts", word));
}

} // namespace

Serving parse_serving(const std::string &word) {
  if (word == "plain") {
    return {};
  }
  if (word == "ragged") {
    return {.ragged = true};
  }
  if (word == "parts") {
    return {.parts = true};
  }
  const std::size_t colon = word.find(':');
  const std::string_view kind = std::string_view(word).substr(0, colon);
  if (colon == std::string::npos || (kind != "paged" && kind != "coded")) {
    refuse(word);
  }
  int size = 0;
  const char *const end = word.data() + word.size();
  const auto [stop, code] = std::from_chars(word.data() + colon + 1, end, size);
  if (code != std::errc() || stop != end || size < 1) {
    refuse(word);
  }
  return {.page_size = size, .code_cache = kind == "coded"};
}

} // namespace sale::cli
