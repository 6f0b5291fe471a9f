// SPDX-License-Identifier: Apache-2.0
// attend for Hopper in 16 bits (docs/numerics.md, section 8).
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "attend/wgmma/attend_warps.cuh"
#include "attend/wgmma/consumer_rows.cuh"
#include "attend/wgmma/tile_loader.cuh"
#include "device/types.cuh"

template <class Config>
SALE_DEVICE void attend(const AttendWgmmaArgs &args) {
  run_warps<Config, ConsumerRows<Config>, ElementLoads<Config>>(args);
}
