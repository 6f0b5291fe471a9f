// SPDX-License-Identifier: Apache-2.0
#include "core/serving_words.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <charconv>
#include <string_view>

namespace sale {

namespace {

constexpr std::string_view and_parts = "+parts";
constexpr std::string_view and_counted = "+counted";

[[noreturn]] void refuse(const std::string &word) {
  throw Error(ErrorKind::invalid_argument,
              fmt::format("unknown way of serving {:?}; give plain, ragged, paged:KEYS, coded:KEYS, parts, "
                          "paged:KEYS+parts or coded:KEYS+parts, each also with +counted at its end",
                          word));
}

} // namespace

Serving parse_serving(const std::string &word) {
  if (word.ends_with(and_counted)) {
    Serving serving = parse_serving(word.substr(0, word.size() - and_counted.size()));
    if (serving.counted) {
      refuse(word);
    }
    serving.counted = true;
    return serving;
  }
  if (word == "plain") {
    return {};
  }
  if (word == "ragged") {
    return {.ragged = true};
  }
  if (word == "parts") {
    return {.parts = true};
  }
  std::string_view pages = word;
  const bool parts = pages.ends_with(and_parts);
  pages.remove_suffix(parts ? and_parts.size() : 0);
  const std::size_t colon = pages.find(':');
  const std::string_view kind = pages.substr(0, colon);
  if (colon == std::string_view::npos || (kind != "paged" && kind != "coded")) {
    refuse(word);
  }
  int size = 0;
  const char *const end = pages.data() + pages.size();
  const auto [stop, code] = std::from_chars(pages.data() + colon + 1, end, size);
  if (code != std::errc() || stop != end || size < 1) {
    refuse(word);
  }
  return {.page_size = size, .code_cache = kind == "coded", .parts = parts};
}

std::string serving_word(const Serving &serving) {
  if (serving.counted) {
    Serving rest = serving;
    rest.counted = false;
    return serving_word(rest) + std::string(and_counted);
  }
  if (serving.page_size != 0) {
    return fmt::format("{}:{}{}", serving.code_cache ? "coded" : "paged", serving.page_size,
                       serving.parts ? and_parts : "");
  }
  if (serving.parts) {
    return "parts";
  }
  return serving.ragged ? "ragged" : "plain";
}

} // namespace sale
