// SPDX-License-Identifier: Apache-2.0
// Over how many CTAs the tokens of one sequence of a ragged batch are spread; the host says the same of plain batches,
// so that the sums of a sequence have the same bits in either.
#pragma once

#include "device/math.cuh"
#include "device/types.cuh"

SALE_DEVICE s32 mean_tokens_per_split(s32 len) { return imax(256, ceil_div(len, 128)); }

SALE_DEVICE s32 energy_splits(s32 kv_len) { return imax(1, imin(128, kv_len / 2048)); }
