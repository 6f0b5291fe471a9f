// SPDX-License-Identifier: Apache-2.0
// How much work each unit of 512 query rows of one sequence is: the keys that its last row sees.
#pragma once

#include "args/sequences_args.cuh"
#include "common/sequence.cuh"
#include "device/types.cuh"

struct UnitWeights {
  s32 units;

  SALE_DEVICE UnitWeights(const SequencesArgs &args, s32 sequence, s32 number_of_units) : units(number_of_units) {
    const SequenceEntry &entry = args.sequences[sequence];
    q_len_ = entry.q_len;
    most_ = args.sliding_window > 0 ? imin(entry.kv_len, args.sliding_window) : entry.kv_len;
    // Without causality the first row too sees all keys.
    position_ = args.causal != 0 ? entry.position : most_;
  }

  // Never less than that of the unit before.
  SALE_DEVICE s32 weight(s32 unit) const { return imax(0, imin(end(unit), most_)); }

  // How many units weigh more than `weight`.
  SALE_DEVICE s32 above(s32 weight) const {
    if (weight < 0 || units == 0) {
      return units;
    }
    if (weight >= most_ || end(units - 1) <= weight) {
      return 0;
    }
    return units - imin(imax(0, weight - position_) / rows_per_unit, units - 1);
  }

private:
  // Position after the unit's last row.
  SALE_DEVICE s32 end(s32 unit) const { return position_ + imin((unit + 1) * rows_per_unit, q_len_); }

  s32 q_len_;
  s32 most_;
  s32 position_;
};
