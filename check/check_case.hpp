// SPDX-License-Identifier: Apache-2.0
// One thing to check: a problem, a policy, a shape and how they are called. Readable and written as YAML.
#pragma once

#include "sale/types.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace sale::check {

enum class Mode {
  sparse,     ///< Plan::run
  given_mask, ///< Plan::run with mask_in: no selection
  dense       ///< Plan::run_dense
};

const char *to_string(Mode mode);

/// How sequences lie in memory.
enum class Batching {
  plain,  ///< [batch, heads, tokens, head_dim], one length
  packed, ///< One after the other, K and V too unless they have pages
  padded  ///< As plain, but lengths are on the device
};

const char *to_string(Batching batching);

enum class KbarSource {
  mean,  ///< Of the call's keys.
  given, ///< RunArgs::kbar
  policy ///< Policy::kbar; estimator exact has none, and takes the mean.
};

inline constexpr std::array kbar_sources = {KbarSource::mean, KbarSource::given, KbarSource::policy};

const char *to_string(KbarSource kbar);

struct SequenceLengths {
  int q_len = 0;
  int kv_len = 0;
};

struct CheckCase {
  std::string arch; ///< "sm_90"; empty = the device's own
  Problem problem;
  Policy policy;
  Shape shape;
  Mode mode = Mode::sparse;
  bool strided = false; ///< Rows with gaps between them, as engines keep Q, K and V; packed sequences too.
  KbarSource kbar = KbarSource::mean;
  bool per_call = false;  ///< tau and shift through RunArgs instead of the policy.
  std::uint64_t seed = 1; ///< Of Q, K and V.

  Batching batching = Batching::plain;
  int page_size = 0;          ///< Of K and V where not plain; 0 = no pages.
  bool pages_by_head = false; ///< A page is [heads, page_size, head_dim]; else [page_size, heads, head_dim].
  std::vector<SequenceLengths> sequences; ///< Where not plain; empty: `shape` says them all, and no array of lengths.

  Serving serving() const;
  /// Lengths of each sequence where not plain.
  std::vector<SequenceLengths> lengths() const;
  /// Unused rows after each packed sequence.
  int rows_between() const;
  /// What the call says: totals where packed.
  Shape call_shape() const;

  /// One line.
  std::string describe() const;
  /// Lines that parse_cases reads back as this case.
  std::string yaml() const;
};

/// Sets the shape to the most of each length.
void set_sequences(CheckCase &check_case, std::vector<SequenceLengths> sequences);

/// A file with one case (a map) or several (a list of maps). Throws Error(invalid_argument) "FILE:LINE: ...".
std::vector<CheckCase> load_cases(const std::filesystem::path &file);
std::vector<CheckCase> parse_cases(const std::string &text, const std::string &file_name);

/// Throws Error(invalid_argument) when no kernel exists for it.
void validate(const CheckCase &c);

} // namespace sale::check
