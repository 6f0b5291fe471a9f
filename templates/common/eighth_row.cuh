// SPDX-License-Identifier: Apache-2.0
// One row of head_dim fp32 channels spread over eight consecutive lanes: lane i of the eight holds the 8-channel chunks
// i, i + 8, .. That is a 16-byte access of 16-bit elements per lane and chunk, and canonical_dot's eight partial sums.
#pragma once

#include "common/swizzle.cuh"
#include "device/element.cuh"
#include "device/math.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"

template <int head_dim>
struct EighthChannels;

template <int head_dim>
struct EighthRow {
  static constexpr int chunks = head_dim / 8;
  static constexpr int per_lane = (chunks + 7) / 8;

  f32 channel[per_lane][8]; // zero where the lane has no chunk (head_dim 96)

  static SALE_DEVICE u32 chunk(int i) { return thread_index() % 8 + static_cast<u32>(i) * 8; }
  static SALE_DEVICE bool has(int i) { return chunks % 8 == 0 || chunk(i) < chunks; }

  SALE_DEVICE void clear() {
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
#pragma unroll
      for (int c = 0; c < 8; ++c) {
        channel[i][c] = 0.0F;
      }
    }
  }

  // Expands eight 16-bit elements into chunk i.
  template <class Element>
  SALE_DEVICE void set(int i, const Vec16 &elements) {
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      channel[i][2 * w] = Element::low(elements.word[w]);
      channel[i][2 * w + 1] = Element::high(elements.word[w]);
    }
  }

  // Loads a row of 16-bit elements.
  template <class Element>
  SALE_DEVICE void load(const u8 *row) {
    clear();
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
      if (has(i)) {
        set<Element>(i, load_global_16(row + s64{16} * chunk(i)));
      }
    }
  }

  // Loads a row of fp32 channels.
  SALE_DEVICE void load(const f32 *row) {
    clear();
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
      if (has(i)) {
        const Vec16 low = load_global_16(row + s64{8} * chunk(i));
        const Vec16 high = load_global_16(row + s64{8} * chunk(i) + 4);
#pragma unroll
        for (int w = 0; w < 4; ++w) {
          channel[i][w] = bits_float(low.word[w]);
          channel[i][w + 4] = bits_float(high.word[w]);
        }
      }
    }
  }

  // Loads row `row` of a swizzled shared tile of 16-bit elements.
  template <class Element>
  SALE_DEVICE void load_shared(u32 tile, u32 row) {
    clear();
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
      if (has(i)) {
        set<Element>(i, load_shared_16(tile + Swizzle<head_dim * 2>::offset(row, chunk(i))));
      }
    }
  }

  // As load_shared, of wider rows, whose channels `channels` become this row.
  template <class Element, int source_dim>
  SALE_DEVICE void gather_shared(const EighthChannels<head_dim> &channels, u32 tile, u32 row) {
    clear();
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
      if (has(i)) {
#pragma unroll
        for (int c = 0; c < 8; ++c) {
          const u32 source = channels.index[i][c];
          const u32 pair = load_shared_4(tile + Swizzle<source_dim * 2>::offset(row, source / 8) + source % 8 / 2 * 4);
          channel[i][c] = source % 2 == 0 ? Element::low(pair) : Element::high(pair);
        }
      }
    }
  }

  // As load, of a wider row.
  SALE_DEVICE void gather(const EighthChannels<head_dim> &channels, const f32 *row) {
    clear();
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
      if (has(i)) {
#pragma unroll
        for (int c = 0; c < 8; ++c) {
          channel[i][c] = load_global_f32(row + channels.index[i][c]);
        }
      }
    }
  }

  SALE_DEVICE void subtract(const EighthRow &other) {
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
#pragma unroll
      for (int c = 0; c < 8; ++c) {
        channel[i][c] = sub_rn(channel[i][c], other.channel[i][c]);
      }
    }
  }

  // Largest absolute value of this lane's channels; NaN if one is.
  SALE_DEVICE f32 lane_absolute_max() const {
    f32 result = 0.0F;
#pragma unroll
    for (int i = 0; i < per_lane; ++i) {
#pragma unroll
      for (int c = 0; c < 8; ++c) {
        result = max_nan(result, abs_f32(channel[i][c]));
      }
    }
    return result;
  }
};

// Which channels of a wider row this lane's entries of an EighthRow are.
template <int head_dim>
struct EighthChannels {
  u32 index[EighthRow<head_dim>::per_lane][8];

  // From the list of all head_dim of them.
  SALE_DEVICE void load(const s32 *list) {
    using Row = EighthRow<head_dim>;
#pragma unroll
    for (int i = 0; i < Row::per_lane; ++i) {
      if (Row::has(i)) {
        const Vec16 low = load_global_16(list + s64{8} * Row::chunk(i));
        const Vec16 high = load_global_16(list + s64{8} * Row::chunk(i) + 4);
#pragma unroll
        for (int w = 0; w < 4; ++w) {
          index[i][w] = low.word[w];
          index[i][w + 4] = high.word[w];
        }
      }
    }
  }
};

// The last three additions of canonical_dot.
SALE_DEVICE f32 eighth_row_sum(f32 sum) {
  sum = add_rn(sum, shuffle_xor(sum, 4));
  sum = add_rn(sum, shuffle_xor(sum, 2));
  return add_rn(sum, shuffle_xor(sum, 1));
}

// docs/numerics.md, section 4; every lane of the eight gets the result. Whole warps call it.
template <int head_dim>
SALE_DEVICE f32 canonical_dot(const EighthRow<head_dim> &a, const EighthRow<head_dim> &b) {
  f32 sum = 0.0F;
#pragma unroll
  for (int i = 0; i < EighthRow<head_dim>::per_lane; ++i) {
    if (EighthRow<head_dim>::has(i)) {
#pragma unroll
      for (int c = 0; c < 8; ++c) {
        sum = fma_rn(a.channel[i][c], b.channel[i][c], sum);
      }
    }
  }
  return eighth_row_sum(sum);
}

// Maximum over the eight lanes; NaN if one is.
SALE_DEVICE f32 eighth_row_max(f32 value) {
  value = max_nan(value, shuffle_xor(value, 4));
  value = max_nan(value, shuffle_xor(value, 2));
  return max_nan(value, shuffle_xor(value, 1));
}
