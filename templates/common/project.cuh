// SPDX-License-Identifier: Apache-2.0
// Rows times a matrix of fp32 weights, one fma chain per entry in the order of the channels (docs/numerics.md, section
// 12). Each lane forms its own entries of an EighthRow of several rows at once, so that a weight read from shared
// memory serves them all.
#pragma once

#include "common/eighth_row.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"

template <class Config>
struct Projection {
  using Row = EighthRow<Config::estimate_dim>;
  static constexpr int slice = 32; // channels whose weights are in shared memory at a time
  static_assert(Config::head_dim % slice == 0, "whole slices");
  // A channel's weights are the low halves of all chunks of entries, then their high halves: so lanes that read one
  // half meet no bank twice.
  static constexpr int half_bytes = Config::estimate_dim * 2;
  static constexpr int channel_bytes = 2 * half_bytes;
  static constexpr int shared_bytes = slice * channel_bytes;

  // rows = weights [estimate_dim, head_dim] times the rows of which source(x, d) gives channels d and d + 1. All
  // threads of the CTA together.
  template <int count, class Source>
  static SALE_DEVICE void apply(Row (&rows)[count], const f32 *weights, u32 shared, const Source &source) {
#pragma unroll
    for (int r = 0; r < count; ++r) {
      rows[r].clear();
    }
#pragma unroll 1
    for (u32 first = 0; first < Config::head_dim; first += slice) {
      sync_threads(); // every warp has left what lay here
      load(shared, weights + first);
      sync_threads();
#pragma unroll 2
      for (u32 d = 0; d < slice; d += 2) {
        f32 x[count][2];
        source(x, first + d);
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          add(rows, x, c, shared + (d + c) * channel_bytes);
        }
      }
    }
  }

private:
  static SALE_DEVICE void load(u32 shared, const f32 *weights) {
    constexpr u32 quads = slice / 4;
    for (u32 item = thread_index(); item < Config::estimate_dim * quads; item += Config::threads) {
      const u32 entry = item % Config::estimate_dim;
      const u32 quad = item / Config::estimate_dim;
      const Vec16 w = load_global_16(weights + s64{entry} * Config::head_dim + quad * 4);
      const u32 place = shared + entry % 8 / 4 * half_bytes + entry / 8 * 16 + entry % 4 * 4;
#pragma unroll
      for (u32 c = 0; c < 4; ++c) {
        store_shared_4(place + (quad * 4 + c) * channel_bytes, w.word[c]);
      }
    }
  }

  // Adds channel c of the two.
  template <int count>
  static SALE_DEVICE void add(Row (&rows)[count], const f32 (&x)[count][2], int c, u32 channel) {
#pragma unroll
    for (int i = 0; i < Row::per_lane; ++i) {
      if (Row::has(i)) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const Vec16 w = load_shared_16(channel + half * half_bytes + Row::chunk(i) * 16);
#pragma unroll
          for (int e = 0; e < 4; ++e) {
#pragma unroll
            for (int r = 0; r < count; ++r) {
              f32 &sum = rows[r].channel[i][half * 4 + e];
              sum = fma_rn(bits_float(w.word[e]), x[r][c], sum);
            }
          }
        }
      }
    }
  }
};
