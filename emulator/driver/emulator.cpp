// SPDX-License-Identifier: Apache-2.0
#include "emulator/driver/emulator.h"

#include "emulator/driver/failure.hpp"
#include "emulator/driver/module.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#define SALE_EXPORT __attribute__((visibility("default")))

namespace {

using namespace sale::emulator;

std::string table_of(const Statistics &statistics) {
  std::string text = "warp instructions\n";
  for (const auto &[opcode, count] : statistics.warp_instructions) {
    text += fmt::format("{:>14}  {}\n", count, opcode);
  }
  text += "shared memory accesses and bank conflicts\n";
  std::vector<std::pair<std::string, std::pair<u64, u64>>> sites(statistics.bank_accesses.begin(),
                                                                 statistics.bank_accesses.end());
  const auto conflicts_then_name = [](const auto &site) {
    return std::pair(-static_cast<double>(site.second.second), site.first);
  };
  std::sort(sites.begin(), sites.end(),
            [&](const auto &a, const auto &b) { return conflicts_then_name(a) < conflicts_then_name(b); });
  for (const auto &[site, counts] : sites) {
    text += fmt::format("{:>14}  {:>14}  {}\n", counts.first, counts.second, site);
  }
  return text;
}

} // namespace

extern "C" {

SALE_EXPORT int saleEmulatorVersion(void) { return 1; }

SALE_EXPORT void saleEmulatorSetSeed(unsigned long long seed) { set_launch_seed(seed); }

SALE_EXPORT void saleEmulatorSetWorkers(int workers) { set_launch_workers(workers); }

SALE_EXPORT const char *saleEmulatorReport(void) { return last_failure().text.c_str(); }

SALE_EXPORT unsigned long long saleEmulatorCount(const char *opcode) {
  unsigned long long count = 0;
  guarded([&] {
    const Statistics all = statistics();
    for (const auto &[name, executed] : all.warp_instructions) {
      count += name.rfind(opcode, 0) == 0 ? executed : 0;
    }
  });
  return count;
}

SALE_EXPORT const char *saleEmulatorStatistics(void) {
  thread_local std::string text;
  guarded([&] { text = table_of(statistics()); });
  return text.c_str();
}

} // extern "C"
