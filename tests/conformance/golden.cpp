// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/golden.hpp"

#include "cache/sha256.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

namespace sale::conformance {

namespace {

constexpr std::size_t words_kept = 8;
constexpr u32 f32_nan = 0x7fffffff;
constexpr u32 half_nan = 0x7fff;

u32 canonical_pair(u32 word, u32 infinity) {
  const auto half = [&](u32 bits) { return (bits & 0x7fffU) > infinity ? half_nan : bits; };
  return half(word & 0xffffU) | half(word >> 16) << 16;
}

std::string digest_of(const std::vector<u32> &words) {
  Sha256 hash;
  hash.update(words.data(), words.size() * sizeof(u32));
  return to_hex(hash.finish());
}

double as_f32(u32 bits) {
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return static_cast<double>(value);
}

double as_f16(u32 bits) {
  const double sign = (bits & 0x8000U) != 0 ? -1 : 1;
  const int exponent = static_cast<int>((bits >> 10) & 31U);
  const double mantissa = bits & 0x3ffU;
  if (exponent == 31) {
    return mantissa == 0 ? sign * HUGE_VAL : std::nan("");
  }
  return sign * (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(mantissa + 1024, exponent - 25));
}

bool close(double value, double golden, const Tolerance &tolerance) {
  if (std::isnan(golden) || std::isinf(golden)) {
    return std::isnan(golden) ? std::isnan(value) : value == golden;
  }
  return std::abs(value - golden) <= tolerance.absolute + tolerance.relative * std::abs(golden);
}

bool words_agree(const Case &test, u32 value, u32 golden) {
  if (test.tolerance.exact()) {
    return value == golden;
  }
  if (test.values == Values::f16_pairs) {
    return close(as_f16(value & 0xffffU), as_f16(golden & 0xffffU), test.tolerance) &&
           close(as_f16(value >> 16), as_f16(golden >> 16), test.tolerance);
  }
  return close(as_f32(value), as_f32(golden), test.tolerance);
}

} // namespace

std::vector<u32> canonical(const Case &test, std::vector<u32> output) {
  for (u32 &word : output) {
    switch (test.values) {
    case Values::bits: break;
    case Values::f32: word = (word & 0x7fffffffU) > 0x7f800000U ? f32_nan : word; break;
    case Values::f16_pairs: word = canonical_pair(word, 0x7c00U); break;
    case Values::bf16_pairs: word = canonical_pair(word, 0x7f80U); break;
    }
  }
  return output;
}

Golden make_golden(const Case &test, const std::vector<u32> &output) {
  Golden golden{.count = output.size(), .digest = {}, .words = output};
  if (test.tolerance.exact() && output.size() > words_kept) {
    golden.digest = digest_of(output);
    golden.words.resize(words_kept);
  }
  return golden;
}

std::string difference(const Case &test, const std::vector<u32> &output, const Golden &golden) {
  if (output.size() != golden.count) {
    return fmt::format("{} words of output, the golden file has {}", output.size(), golden.count);
  }
  for (std::size_t i = 0; i < golden.words.size(); ++i) {
    if (!words_agree(test, output[i], golden.words[i])) {
      return fmt::format("word {} is {:#010x} ({}), the golden file has {:#010x} ({})", i, output[i], as_f32(output[i]),
                         golden.words[i], as_f32(golden.words[i]));
    }
  }
  if (!golden.digest.empty() && golden.digest != digest_of(output)) {
    return fmt::format("a word after the first {} differs (SHA-256)", golden.words.size());
  }
  return {};
}

std::map<std::string, Golden> read_golden_file(const std::filesystem::path &path) {
  std::ifstream file(path);
  if (!file) {
    throw Error(ErrorKind::not_found, fmt::format("cannot read the golden file {}", path.string()));
  }
  std::map<std::string, Golden> cases;
  std::string line;
  while (std::getline(file, line)) {
    if (line.empty() || line.front() == '#') {
      continue;
    }
    std::istringstream fields(line);
    std::string name;
    Golden golden;
    fields >> name >> golden.count >> golden.digest;
    if (!fields) {
      throw Error(ErrorKind::invalid_argument, fmt::format("{} has a line that is no case: {}", path.string(), line));
    }
    if (golden.digest == "-") {
      golden.digest.clear();
    }
    u32 word = 0;
    while (fields >> std::hex >> word) {
      golden.words.push_back(word);
    }
    cases.emplace(name, std::move(golden));
  }
  return cases;
}

void write_golden_file(const std::filesystem::path &path, const std::string &provenance,
                       const std::vector<std::pair<std::string, Golden>> &cases) {
  std::ofstream file(path);
  file << "# " << provenance
       << "\n# case, words of output, SHA-256 of them or -, the words (with a SHA-256, the first)\n";
  for (const auto &[name, golden] : cases) {
    file << fmt::format("{} {} {} {:08x}\n", name, golden.count, golden.digest.empty() ? "-" : golden.digest,
                        fmt::join(golden.words, " "));
  }
  file.flush();
  if (!file) {
    throw Error(ErrorKind::io, fmt::format("cannot write {}", path.string()));
  }
}

} // namespace sale::conformance
