// SPDX-License-Identifier: Apache-2.0
// Loads and stores of explicit width (PTX ISA, "ld", "st", "atom", "red").
#pragma once

#include "device/types.cuh"

// Shared-window address of a pointer into shared memory.
SALE_DEVICE u32 shared_address(const void *p) {
  u32 r;
  asm("{\n\t.reg .u64 t;\n\tcvta.to.shared.u64 t, %1;\n\tcvt.u32.u64 %0, t;\n\t}" : "=r"(r) : "l"(p));
  return r;
}

SALE_DEVICE Vec16 load_global_16(const void *p) {
  Vec16 v;
  asm volatile("ld.global.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.word[0]), "=r"(v.word[1]), "=r"(v.word[2]), "=r"(v.word[3])
               : "l"(p)
               : "memory");
  return v;
}

SALE_DEVICE u32 load_global_4(const void *p) {
  u32 r;
  asm volatile("ld.global.b32 %0, [%1];" : "=r"(r) : "l"(p) : "memory");
  return r;
}

SALE_DEVICE f32 load_global_f32(const void *p) {
  f32 r;
  asm volatile("ld.global.f32 %0, [%1];" : "=f"(r) : "l"(p) : "memory");
  return r;
}

SALE_DEVICE void store_global_16(void *p, const Vec16 &v) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(v.word[0]), "r"(v.word[1]), "r"(v.word[2]),
               "r"(v.word[3])
               : "memory");
}

SALE_DEVICE void store_global_8(void *p, u32 low, u32 high) {
  asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(p), "r"(low), "r"(high) : "memory");
}

SALE_DEVICE void store_global_4(void *p, u32 value) {
  asm volatile("st.global.b32 [%0], %1;" ::"l"(p), "r"(value) : "memory");
}

SALE_DEVICE void store_global_f32(void *p, f32 value) {
  asm volatile("st.global.f32 [%0], %1;" ::"l"(p), "f"(value) : "memory");
}

SALE_DEVICE void or_global(u32 *p, u32 bits) {
  asm volatile("red.relaxed.gpu.global.or.b32 [%0], %1;" ::"l"(p), "r"(bits) : "memory");
}

SALE_DEVICE void max_global(u32 *p, u32 value) {
  asm volatile("red.relaxed.gpu.global.max.u32 [%0], %1;" ::"l"(p), "r"(value) : "memory");
}

SALE_DEVICE Vec16 load_shared_16(u32 address) {
  Vec16 v;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.word[0]), "=r"(v.word[1]), "=r"(v.word[2]), "=r"(v.word[3])
               : "r"(address)
               : "memory");
  return v;
}

SALE_DEVICE void store_shared_16(u32 address, const Vec16 &v) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.word[0]), "r"(v.word[1]),
               "r"(v.word[2]), "r"(v.word[3])
               : "memory");
}

SALE_DEVICE u32 load_shared_4(u32 address) {
  u32 r;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(r) : "r"(address) : "memory");
  return r;
}

SALE_DEVICE f32 load_shared_f32(u32 address) {
  f32 r;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(r) : "r"(address) : "memory");
  return r;
}

SALE_DEVICE void load_shared_f32x2(f32 (&v)[2], u32 address) {
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(v[0]), "=f"(v[1]) : "r"(address) : "memory");
}

SALE_DEVICE void store_shared_4(u32 address, u32 value) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}

SALE_DEVICE void store_shared_f32(u32 address, f32 value) {
  asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(value) : "memory");
}

// Returns the old value; acquires and releases at device scope.
SALE_DEVICE u32 add_global_acq_rel(u32 *p, u32 value) {
  u32 r;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(r) : "l"(p), "r"(value) : "memory");
  return r;
}

// Returns the old value; orders nothing.
SALE_DEVICE u32 add_global(u32 *p, u32 value) {
  u32 r;
  asm volatile("atom.relaxed.gpu.global.add.u32 %0, [%1], %2;" : "=r"(r) : "l"(p), "r"(value) : "memory");
  return r;
}

SALE_DEVICE void or_shared(u32 address, u32 bits) {
  asm volatile("red.relaxed.cta.shared.or.b32 [%0], %1;" ::"r"(address), "r"(bits) : "memory");
}

// Returns the old value.
SALE_DEVICE u32 add_shared(u32 address, u32 value) {
  u32 r;
  asm volatile("atom.relaxed.cta.shared.add.u32 %0, [%1], %2;" : "=r"(r) : "r"(address), "r"(value) : "memory");
  return r;
}
