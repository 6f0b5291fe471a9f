// SPDX-License-Identifier: Apache-2.0
#include "bench/variant.hpp"

#include "io/names.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>
#include <string_view>
#include <utility>

namespace sale::bench {

namespace {

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

std::optional<int> parse_integer(std::string_view text) {
  int value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

} // namespace

Policy parse_estimate(const std::string &word, Policy base) {
  base.estimator = io::parse_estimator(word.substr(0, word.find('/')));
  base.estimate_dim = 0;
  base.prune_queries = false;
  base.channels.clear();
  base.projection.clear();
  base.shift_per_head.clear();
  for (std::size_t at = word.find('/'); at != std::string::npos; at = word.find('/', at + 1)) {
    const std::string part = word.substr(at + 1, word.find('/', at + 1) - at - 1);
    const std::optional<int> dim = parse_integer(part);
    if (part == "2:4") {
      base.prune_queries = true;
    } else if (dim) {
      base.estimate_dim = *dim;
    } else {
      refuse(fmt::format("unknown estimate {:?}; give e.g. int8, fp8, fp8/64 (channels), fp8/2:4 or fp8/64/2:4", word));
    }
  }
  return base;
}

std::string estimate_name(const Policy &policy) {
  std::string name = to_string(policy.estimator);
  if (policy.estimate_dim != 0) {
    name += fmt::format("/{}", policy.estimate_dim);
  }
  if (!policy.projection.empty()) {
    name += "/projection";
  }
  return name + (policy.prune_queries ? "/2:4" : "") + (policy.shift_per_head.empty() ? "" : "+shift");
}

MaskRequest parse_mask(const std::string &word) {
  if (word == "exact") {
    return {word, std::nullopt};
  }
  constexpr std::string_view random = "random:";
  double density = 0;
  if (word.starts_with(random)) {
    const char *begin = word.data() + random.size();
    const char *end = word.data() + word.size();
    const auto [stop, code] = std::from_chars(begin, end, density);
    if (code == std::errc() && stop == end && density >= 0 && density <= 1) {
      return {word, density};
    }
  }
  refuse(fmt::format("unknown mask {:?}; give exact, or random:DENSITY with a density between 0 and 1", word));
}

ServingRequest parse_serving_request(const std::string &word) {
  if (word == "halves") {
    return {word, ServingKind::halves, 0};
  }
  constexpr std::array kinds = {std::pair("packed:", ServingKind::packed), std::pair("paged:", ServingKind::paged),
                                std::pair("chunks:", ServingKind::chunks),
                                std::pair("coded-chunks:", ServingKind::coded_chunks)};
  for (const auto &[prefix, kind] : kinds) {
    if (word.starts_with(prefix)) {
      return {word, kind, parse_length(word.substr(std::string_view(prefix).size()))};
    }
  }
  refuse(fmt::format(
      "unknown way of serving {:?}; give packed:SEQUENCES, halves, paged:KEYS, chunks:ROWS or coded-chunks:ROWS",
      word));
}

int parse_length(const std::string &word) {
  std::string_view digits = word;
  int unit = 1;
  if (digits.ends_with('K')) {
    unit = 1024;
  } else if (digits.ends_with('M')) {
    unit = 1024 * 1024;
  }
  digits.remove_suffix(unit > 1 ? 1 : 0);
  const std::optional<int> count = parse_integer(digits);
  if (!count || *count < 1 || *count > std::numeric_limits<int>::max() / unit) {
    refuse(fmt::format("unknown length {:?}; give a number of tokens, e.g. 32768 or 32K", word));
  }
  return *count * unit;
}

std::string length_name(int length) {
  return length % 1024 == 0 ? fmt::format("{}K", length / 1024) : std::to_string(length);
}

} // namespace sale::bench
