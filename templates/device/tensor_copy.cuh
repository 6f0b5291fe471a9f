// SPDX-License-Identifier: Apache-2.0
// Boxes of tensors, copied by the copy engine (PTX ISA, "cp.async.bulk.tensor"): one thread issues; coordinates are in
// elements, the innermost first; what lies outside the tensor is read as zero and not written. Beyond what PTX says, an
// H100 takes only innermost coordinates that are multiples of 16 bytes, and stores only where no coordinate is negative
// (else: illegal instruction); a store writes rows up to the next multiple of 16 bytes. A map is read where the launch
// put it: in a SALE_GRID_CONSTANT parameter. sm_90 and newer.
#pragma once

#include "common/tensor_map.cuh"
#include "device/types.cuh"

SALE_DEVICE void tensor_prefetch(const TensorMap *map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// Global to shared; counts the bytes of the whole box, also of its part outside the tensor, on the mbarrier.
SALE_DEVICE void tensor_load_2d(u32 shared_dst, const TensorMap *map, u32 barrier, s32 c0, s32 c1) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::
          "r"(shared_dst),
      "l"(map), "r"(barrier), "r"(c0), "r"(c1)
      : "memory");
}

SALE_DEVICE void tensor_load_3d(u32 shared_dst, const TensorMap *map, u32 barrier, s32 c0, s32 c1, s32 c2) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::
          "r"(shared_dst),
      "l"(map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2)
      : "memory");
}

SALE_DEVICE void tensor_load_4d(u32 shared_dst, const TensorMap *map, u32 barrier, s32 c0, s32 c1, s32 c2, s32 c3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::
          "r"(shared_dst),
      "l"(map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
      : "memory");
}

// Shared to global; joins this thread's open bulk group (bulk_copy.cuh).
SALE_DEVICE void tensor_store_2d(const TensorMap *map, u32 shared_src, s32 c0, s32 c1) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
               "r"(shared_src), "r"(c0), "r"(c1)
               : "memory");
}

SALE_DEVICE void tensor_store_3d(const TensorMap *map, u32 shared_src, s32 c0, s32 c1, s32 c2) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
               "r"(shared_src), "r"(c0), "r"(c1), "r"(c2)
               : "memory");
}

SALE_DEVICE void tensor_store_4d(const TensorMap *map, u32 shared_src, s32 c0, s32 c1, s32 c2, s32 c3) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(map),
               "r"(shared_src), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
               : "memory");
}
