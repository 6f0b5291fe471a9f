// SPDX-License-Identifier: Apache-2.0
// The name of a compiled kernel: a labelled SHA-256 over everything that decides its binary. No path, user, host or
// time is part of it, and forming it needs no compiler.
#pragma once

#include "cache/sha256.hpp"

#include <string>
#include <string_view>

namespace sale {

/// What a device loads.
enum class BinaryKind {
  cubin, ///< Machine code of one architecture.
  ptx,   ///< Text that the driver compiles at load time.
  source ///< The generated CUDA source itself: the emulated device compiles it. Never in the cache.
};

const char *to_string(BinaryKind kind);

/// Hashes label=value pairs. Lengths are hashed too, so that no two different lists of pairs collide by concatenation.
class LabelledHash {
public:
  void add(std::string_view label, std::string_view value);
  Digest finish() { return hash_.finish(); }

private:
  void add_sized(std::string_view text);
  Sha256 hash_;
};

struct KeyFields {
  std::string_view source;
  std::string_view options; ///< Compile options, space separated.
  std::string_view target;  ///< "sm_90" or "compute_80".
  BinaryKind kind = BinaryKind::cubin;
};

/// 64 hexadecimal digits.
std::string kernel_key(const KeyFields &fields);

} // namespace sale
