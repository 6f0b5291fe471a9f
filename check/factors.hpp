// SPDX-License-Identifier: Apache-2.0
// What varies from case to case, and a case from a choice of it.
#pragma once

#include "check/check_case.hpp"
#include "check/pairwise.hpp"

#include <array>
#include <string>
#include <vector>

namespace sale::check {

/// The order of factors(). The first two decide which of the others matter.
enum FactorIndex {
  mode,
  estimator,
  arch,
  dtype,
  head_dim,
  gqa,
  block_q,
  block_k,
  lengths,
  layout,
  batch,
  threshold,
  region,
  kbar,
  factor_count
};

inline constexpr std::array modes = {Mode::sparse, Mode::given_mask, Mode::dense};
inline constexpr std::array archs = {"sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_100", "sm_120"};
inline constexpr std::array head_dims = {64, 96, 128, 256}; ///< 192 has cases of its own.
/// Every arch has kernels of these; fp8 has cases of its own.
inline constexpr std::array estimators = {Estimator::exact, Estimator::int8, Estimator::int4};

struct Regions {
  int sink, window;
};
inline constexpr Regions narrow = {1, 65}; ///< Most of a long row is estimated, whatever the block sizes.

struct Factor {
  std::string name;
  std::vector<std::string> values;
};
const std::vector<Factor> &factors();
std::vector<int> sizes_of_factors();

/// False for values that a case never looks at: a dense call has no estimator.
bool matters(const Choice &choice, int factor);
bool changes_source(int factor);

CheckCase make_case(const Choice &choice, std::uint64_t seed);

} // namespace sale::check
