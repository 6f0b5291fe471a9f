// The two 16-bit element types: conversion to and from fp32, two at a time (PTX ISA, "cvt").
#pragma once

#include "device/math.cuh"
#include "device/types.cuh"

struct Bf16 {
  static SALE_DEVICE f32 low(u32 pair) { return bits_float(pair << 16); }
  static SALE_DEVICE f32 high(u32 pair) { return bits_float(pair & 0xffff0000U); }
  static SALE_DEVICE u32 pack(f32 low, f32 high) {
    u32 r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
  }
};

struct F16 {
  static SALE_DEVICE f32 low(u32 pair) {
    f32 r;
    asm("{\n\t.reg .b16 a, b;\n\tmov.b32 {a, b}, %1;\n\tcvt.f32.f16 %0, a;\n\t}" : "=f"(r) : "r"(pair));
    return r;
  }
  static SALE_DEVICE f32 high(u32 pair) {
    f32 r;
    asm("{\n\t.reg .b16 a, b;\n\tmov.b32 {a, b}, %1;\n\tcvt.f32.f16 %0, b;\n\t}" : "=f"(r) : "r"(pair));
    return r;
  }
  static SALE_DEVICE u32 pack(f32 low, f32 high) {
    u32 r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
  }
};
