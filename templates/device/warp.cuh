// SPDX-License-Identifier: Apache-2.0
// Warp collectives over all 32 lanes (PTX ISA, "shfl.sync", "vote.sync", "redux.sync", "elect.sync").
#pragma once

#include "device/math.cuh"
#include "device/types.cuh"

SALE_DEVICE u32 shuffle(u32 value, u32 source_lane) {
  u32 r;
  asm volatile("shfl.sync.idx.b32 %0, %1, %2, 31, 0xffffffff;" : "=r"(r) : "r"(value), "r"(source_lane));
  return r;
}

SALE_DEVICE u32 shuffle_xor(u32 value, u32 lane_mask) {
  u32 r;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, 0xffffffff;" : "=r"(r) : "r"(value), "r"(lane_mask));
  return r;
}

SALE_DEVICE f32 shuffle_xor(f32 value, u32 lane_mask) { return bits_float(shuffle_xor(float_bits(value), lane_mask)); }

SALE_DEVICE u32 warp_ballot(bool predicate) {
  u32 r;
  asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.u32 p, %1, 0;\n\tvote.sync.ballot.b32 %0, p, 0xffffffff;\n\t}"
               : "=r"(r)
               : "r"(static_cast<u32>(predicate)));
  return r;
}

SALE_DEVICE u32 reduce_or(u32 value) {
  u32 r;
  asm volatile("redux.sync.or.b32 %0, %1, 0xffffffff;" : "=r"(r) : "r"(value));
  return r;
}

SALE_DEVICE bool warp_any(bool predicate) {
  u32 r;
  asm volatile("{\n\t.reg .pred p, q;\n\tsetp.ne.u32 p, %1, 0;\n\tvote.sync.any.pred q, p, 0xffffffff;\n\t"
               "selp.u32 %0, 1, 0, q;\n\t}"
               : "=r"(r)
               : "r"(static_cast<u32>(predicate)));
  return r != 0;
}

// True in one lane; the same one every time. sm_90 and newer.
SALE_DEVICE bool elect_lane() {
  u32 r;
  asm volatile("{\n\t.reg .pred p;\n\telect.sync _|p, 0xffffffff;\n\tselp.u32 %0, 1, 0, p;\n\t}" : "=r"(r));
  return r != 0;
}
