// SPDX-License-Identifier: Apache-2.0
// Order between ordinary accesses and those of tensor cores and copy engine (PTX ISA, "membar, fence").
#pragma once

#include "device/types.cuh"

// Every thread that wrote shared memory calls it before the barrier after which wgmma or a bulk copy reads that memory.
SALE_DEVICE void fence_async_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
