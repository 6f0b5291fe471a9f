// SPDX-License-Identifier: Apache-2.0
// What became of the kernels that everybody who used a cache folder asked for: one line of counters each, in one file.
// For people to look at: a line that cannot be written is lost, a malformed one is not counted, and neither is an
// error.
#pragma once

#include "cache/trust.hpp"
#include "sale/sale.hpp"

#include <cstdint>
#include <span>
#include <string_view>

namespace sale {

struct CounterField {
  std::string_view name; ///< "user_hits"
  std::uint64_t CacheCounters::*value;
};

/// Every counter, in the order of CacheCounters.
std::span<const CounterField> counter_fields();

/// Adds a line in the opened root folder and keeps the file small.
void append_history(int root, const CacheCounters &counters);

/// The sum of all lines.
CacheCounters read_history(int root, Keeper keeper);

} // namespace sale
