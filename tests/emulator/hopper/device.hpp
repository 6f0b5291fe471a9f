// SPDX-License-Identifier: Apache-2.0
// The Hopper instructions as functions, for kernels written in C++. Addresses are of the shared window.
#pragma once

#include "tests/emulator/instructions/harness.hpp"

#include <vector>

namespace sale::emulator::test {

void sync(); ///< bar.sync 0

void store(u32 address, u32 value);
u32 load(u32 address);
/// Plain stores of 16 bytes by this thread.
void store_bytes(u32 address, const std::vector<u8> &bytes);

void mbarrier_init(u32 barrier, u32 count);
void mbarrier_inval(u32 barrier);
u64 mbarrier_arrive(u32 barrier, u32 count = 1);
void mbarrier_arrive_drop(u32 barrier, u32 count = 1);
void mbarrier_arrive_expect(u32 barrier, u32 bytes);
void mbarrier_expect(u32 barrier, u32 bytes);
void mbarrier_complete(u32 barrier, u32 bytes);
bool mbarrier_try(u32 barrier, u32 parity);
void mbarrier_wait(u32 barrier, u32 parity); ///< As kernels do: until mbarrier_try says so.
bool mbarrier_try_state(u32 barrier, u64 state);
void fence_mbarrier_init();
void fence_async();

void bulk_load(u32 destination, const void *source, u32 bytes, u32 barrier);
void bulk_store(void *destination, u32 source, u32 bytes);
void bulk_commit();
void bulk_wait(u32 pending);
void bulk_wait_read(u32 pending);

void tensor_load(u32 destination, const void *map, const std::vector<s32> &corner, u32 barrier);
void tensor_store(const void *map, const std::vector<s32> &corner, u32 source);

} // namespace sale::emulator::test
