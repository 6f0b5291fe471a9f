// SPDX-License-Identifier: Apache-2.0
// The words in which `sale bench` is told what to measure.
#pragma once

#include "sale/types.hpp"

#include <optional>
#include <string>

namespace sale::bench {

/// `base` with another estimate: "int8", "fp8", "fp8/64" (the best 64 channels), "fp8/2:4" (pruned queries),
/// "fp8/64/2:4"; without what was calibrated for `base` alone (channels, projection, shift). Throws
/// Error(invalid_argument).
Policy parse_estimate(const std::string &word, Policy base);

/// The word for a policy's estimate, with "/projection" and "+shift" where it has them.
std::string estimate_name(const Policy &policy);

/// A mask that attend is given.
struct MaskRequest {
  std::string name;              ///< "exact" or "random:0.1"
  std::optional<double> density; ///< Of a random one; else it is the mask that the exact estimate gives.
};

/// Throws Error(invalid_argument).
MaskRequest parse_mask(const std::string &word);

/// How a sequence is cut up or laid out (bench/serving.hpp).
enum class ServingKind {
  packed,      ///< Into `number` equal sequences of a packed batch.
  halves,      ///< Into a packed batch of a half of it, a quarter and so on.
  paged,       ///< Keys and values in pages of `number` keys.
  chunks,      ///< Prefilled `number` rows after another.
  coded_chunks ///< The same in pages of 64 keys, beside which the codes of K stay.
};
struct ServingRequest {
  std::string name; ///< "packed:8", "halves", "paged:64", "chunks:8K", "coded-chunks:8K"
  ServingKind kind = ServingKind::packed;
  int number = 0;
};

/// Throws Error(invalid_argument).
ServingRequest parse_serving_request(const std::string &word);

/// "32768", "32K" (times 1024) or "1M"; throws Error(invalid_argument).
int parse_length(const std::string &word);
/// "32K" where it is a multiple of 1024.
std::string length_name(int length);

} // namespace sale::bench
