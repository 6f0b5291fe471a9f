// SPDX-License-Identifier: Apache-2.0
// fault_table [--rounds N]: breaks the cache in every way we know, counts what its
// users notice, and fails when they notice anything but time.
#include "tests/faults/rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <string_view>

namespace sale::faults {
namespace {

struct Kind {
  Row (*rows)(int rounds);
  int cost; ///< So many rounds of the cheapest take as long as one of this.
};

constexpr Kind kinds[] = {
    {killed_alone, 1},        {killed_while_evicting, 2}, {killed_among_others, 1},  {killed_at_random_times, 2},
    {one_call_fails, 1},      {all_calls_fail, 1},        {race_cold, 20},           {race_warm, 20},
    {race_without_locks, 20}, {race_with_eviction, 20},   {owner_killed, 5},         {owner_stopped, 40},
    {disk_full, 5},           {disk_filling, 5},          {read_only_cold, 5},       {read_only_warm, 5},
    {read_only_locks, 5},     {folder_vanishes, 10},      {clock_goes_backwards, 5}, {foreign_folder, 5},
    {foreign_files, 5},       {linked_folder, 5},         {linked_files, 5},         {linked_locks, 5},
};

int run(int rounds) {
  print_head();
  bool good = true;
  for (const Kind &kind : kinds) {
    const Row row = kind.rows(std::max(1, rounds / kind.cost));
    print(row);
    good = good && row.good();
  }
  return good ? 0 : 1;
}

} // namespace
} // namespace sale::faults

int main(int argc, char **argv) {
  int rounds = 8;
  if (argc == 3 && std::string_view(argv[1]) == "--rounds") {
    rounds = std::atoi(argv[2]);
  } else if (argc != 1) {
    fmt::print(stderr, "usage: fault_table [--rounds N]\n");
    return 2;
  }
  try {
    return sale::faults::run(rounds);
  } catch (const std::exception &error) {
    fmt::print(stderr, "fault_table: {}\n", error.what());
    return 1;
  }
}
