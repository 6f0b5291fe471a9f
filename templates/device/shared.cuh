// SPDX-License-Identifier: Apache-2.0
// The CTA's one dynamic shared array; kernels carve it by hand.
#pragma once

#include "device/memory.cuh"
#include "device/types.cuh"

extern SALE_SHARED Vec16 dynamic_shared[];

// Shared-window address of the first byte, 16-byte aligned.
SALE_DEVICE u32 dynamic_shared_address() { return shared_address(dynamic_shared); }
