// SPDX-License-Identifier: Apache-2.0
// The rows of the fault table. Each function runs so many rounds, every one with a new cache.
#pragma once

#include "tests/faults/table.hpp"

namespace sale::faults {

// rows_calls.cpp: kill -9 while kernels are built, and system calls that fail.
Row killed_alone(int rounds);
Row killed_while_evicting(int rounds);
Row killed_among_others(int rounds);
Row killed_at_random_times(int rounds);
Row one_call_fails(int rounds);
Row all_calls_fail(int rounds);

// rows_race.cpp: 32 processes of 16 threads.
Row race_cold(int rounds);
Row race_warm(int rounds);
Row race_without_locks(int rounds);
Row race_with_eviction(int rounds);

// rows_lock.cpp: what becomes of the lock's owner.
Row owner_killed(int rounds);
Row owner_stopped(int rounds);

// rows_disk.cpp: folders that fail.
Row disk_full(int rounds);
Row disk_filling(int rounds);
Row read_only_cold(int rounds);
Row read_only_warm(int rounds);
Row read_only_locks(int rounds);
Row folder_vanishes(int rounds);
Row clock_goes_backwards(int rounds);

// rows_attack.cpp: somebody else was here.
Row foreign_folder(int rounds);
Row foreign_files(int rounds);
Row linked_folder(int rounds);
Row linked_files(int rounds);
Row linked_locks(int rounds);

} // namespace sale::faults
