// SPDX-License-Identifier: Apache-2.0
// attend for Hopper in e4m3 (docs/numerics.md, section 14).
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "attend/wgmma/attend_warps.cuh"
#include "attend/wgmma/fp8_loads.cuh"
#include "attend/wgmma/fp8_rows.cuh"
#include "device/types.cuh"

template <class Config>
SALE_DEVICE void attend_fp8(const AttendWgmmaArgs &args) {
  static_assert(!Config::softcap && !Config::sink_logits, "scores here lack what the mean of the keys adds");
  run_warps<Config, Fp8Rows<Config>, CodeLoads<Config>>(args);
}
