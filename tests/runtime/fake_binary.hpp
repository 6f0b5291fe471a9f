// SPDX-License-Identifier: Apache-2.0
// What the fake compiler makes of a source: nothing else may ever come out of a cache for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

/// FNV-1a.
inline std::uint64_t fake_hash(std::string_view text) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  }
  return hash;
}

/// The options, each after a space, then so many digits that only this source has.
inline std::string fake_binary(std::string_view source, std::string_view spaced_options, std::size_t digits) {
  std::string binary = "FAKE" + std::string(spaced_options);
  std::uint64_t state = fake_hash(source) | 1;
  binary.reserve(binary.size() + digits);
  for (std::size_t i = 0; i < digits; ++i) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    binary += static_cast<char>('0' + state % 10);
  }
  return binary;
}
