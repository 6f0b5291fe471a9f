// SPDX-License-Identifier: Apache-2.0
// What a search space's predicates may speak of: numbers and booleans of a KernelSpec with its tile, by name.
#pragma once

#include "generator/kernel_spec.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sale::autotune {

struct KernelNumber {
  const char *name;
  bool is_boolean;
  std::int64_t (*of)(const KernelSpec &spec);
};

const std::vector<KernelNumber> &kernel_numbers();

/// Its place among kernel_numbers().
std::optional<std::size_t> find_kernel_number(std::string_view name);

/// Registers of a thread that computes, out of what a CTA may have.
int register_budget(const KernelSpec &spec);

/// Throws Error(invalid_argument).
KernelFamily parse_family(std::string_view name);
const char *to_string(KernelFamily family);

} // namespace sale::autotune
