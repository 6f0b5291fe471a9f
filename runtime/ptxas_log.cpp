// SPDX-License-Identifier: Apache-2.0
#include "runtime/ptxas_log.hpp"

#include <charconv>

namespace sale {

namespace {

// The number right before `unit`; 0 when the log has no such phrase.
int number_before(std::string_view log, std::string_view unit) {
  const std::size_t end = log.find(unit);
  if (end == std::string_view::npos) {
    return 0;
  }
  std::size_t begin = end;
  while (begin > 0 && log[begin - 1] >= '0' && log[begin - 1] <= '9') {
    --begin;
  }
  int value = 0;
  std::from_chars(log.data() + begin, log.data() + end, value);
  return value;
}

} // namespace

KernelResources parse_ptxas_log(std::string_view log) {
  KernelResources resources;
  resources.registers = number_before(log, " registers");
  resources.spill_bytes = number_before(log, " bytes spill stores") + number_before(log, " bytes spill loads");
  resources.static_shared_memory = number_before(log, " bytes smem");
  return resources;
}

} // namespace sale
