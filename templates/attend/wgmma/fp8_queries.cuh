// SPDX-License-Identifier: Apache-2.0
// The 64 query rows of a consumer as e4m3 codes, made from the 16-bit tile in shared memory (docs/numerics.md, section
// 14): the first operand of Q·K, in registers, or in shared memory where rows are wide.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "attend/wgmma/attend_item.cuh"
#include "attend/wgmma/attend_shared.cuh"
#include "common/codes.cuh"
#include "device/element.cuh"
#include "device/math.cuh"
#include "device/matrix_descriptor.cuh"
#include "device/memory.cuh"
#include "device/named_barrier.cuh"
#include "device/proxy_fence.cuh"
#include "device/shared.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"
#include "device/wgmma.cuh"

// A lane's part of the tile: of rows lane/4 and lane/4 + 8 of its warp's 16, from each 16 channels 4(lane%4)..+3.
// fragment[k][r + 2h] is of row r and channels 32k + 16h + ...
template <class Config>
class QueryTile {
  using Element = typename Config::Element;
  using Layout = AttendLayout<Config>;
  static constexpr int steps = Config::head_dim / 32;

public:
  SALE_DEVICE explicit QueryTile(u32 q_block) : q_block_(q_block) {}

  // Sums of squares of both rows, or with another vector their products.
  SALE_DEVICE void norms(f32 (&n2)[2]) const {
    sum(n2, [](int /*channel*/, const f32(&x)[4], f32 total) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        total = fma_rn(x[i], x[i], total);
      }
      return total;
    });
  }
  SALE_DEVICE void dots(f32 (&products)[2], const f32 *vector) const {
    sum(products, [&](int channel, const f32(&x)[4], f32 total) {
      const Vec16 other = load_global_16(vector + channel + lane_index() % 4 * 4);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        total = fma_rn(x[i], bits_float(other.word[i]), total);
      }
      return total;
    });
  }

  SALE_DEVICE void codes(u32 (&fragment)[steps][4], const f32 (&power)[2]) const {
#pragma unroll
    for (int i = 0; i < steps * 4; ++i) {
      f32 x[4];
      load(x, i % 2, i / 2 * 16);
      fragment[i / 4][i % 4] = float_codes(x[0], x[1], x[2], x[3], power[i % 2]);
    }
  }

private:
  SALE_DEVICE void load(f32 (&x)[4], int r, int channel) const {
    const u32 row = thread_index() % 128 / 32 * 16 + lane_index() / 4 + r * 8;
    const u32 chunk = channel % 64 / 8 + lane_index() % 4 / 2;
    const u32 at = q_block_ + channel / 64 * Layout::q_panel_bytes + row * 128 + ((chunk ^ (row & 7U)) << 4) +
                   lane_index() % 2 * 8;
    const u32 low = load_shared_4(at);
    const u32 high = load_shared_4(at + 4);
    x[0] = Element::low(low);
    x[1] = Element::high(low);
    x[2] = Element::low(high);
    x[3] = Element::high(high);
  }

  // Over the four lanes that share a row; step(channel, x, total) adds four channels.
  template <class Step>
  SALE_DEVICE void sum(f32 (&totals)[2], const Step &step) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      f32 total = 0.0F;
#pragma unroll
      for (int channel = 0; channel < Config::head_dim; channel += 16) {
        f32 x[4];
        load(x, r, channel);
        total = step(channel, x, total);
      }
      total += shuffle_xor(total, 1);
      totals[r] = total + shuffle_xor(total, 2);
    }
  }

  u32 q_block_;
};

template <class Config>
class CodesInRegisters {
  using Mma = Wgmma<E4m3, F16, Config::keys_per_step, WgmmaSource::registers, WgmmaMajor::k, WgmmaDensity::dense>;

public:
  SALE_DEVICE explicit CodesInRegisters(u32 /*consumer*/) {}

  SALE_DEVICE void take(u32 q_block, const f32 (&power)[2]) { QueryTile<Config>(q_block).codes(fragment_, power); }

  SALE_DEVICE void multiply(u32 (&scores)[Config::keys_per_step / 4], int k, u64 keys) const {
    Mma::run(scores, fragment_[k], keys, k != 0);
  }

private:
  u32 fragment_[Config::head_dim / 32][4];
};

// Rows of codes lie in panels of 128 bytes a row (64 where there are no more), swizzled as the copy engine would.
template <class Config>
class CodesInShared {
  using Mma = Wgmma<E4m3, F16, Config::keys_per_step, WgmmaSource::shared, WgmmaMajor::k, WgmmaDensity::dense>;
  using Layout = AttendLayout<Config>;
  static constexpr int row_bytes = Layout::panel_row_bytes;
  static constexpr int panel_bytes = 64 * row_bytes;
  static constexpr int chunks = row_bytes / 16;
  static constexpr int rows_per_turn = 8 / chunks; // which swizzle alike

public:
  SALE_DEVICE explicit CodesInShared(u32 consumer) : consumer_(consumer) {}

  // By the whole warpgroup, when its products with the codes of before are done.
  SALE_DEVICE void take(u32 q_block, const f32 (&power)[2]) const {
    u32 fragment[Config::head_dim / 32][4];
    QueryTile<Config>(q_block).codes(fragment, power);
    barrier_sync(3 + consumer_, 128);
#pragma unroll
    for (int i = 0; i < Config::head_dim / 8; ++i) {
      const u32 row = warp_row() + lane_index() / 4 + i % 2 * 8;
      store_shared_4(chunk_address(row, i / 2) + lane_index() % 4 * 4, fragment[i / 4][i % 4]);
    }
    fence_async_proxy();
    barrier_sync(3 + consumer_, 128);
  }

  SALE_DEVICE void multiply(u32 (&scores)[Config::keys_per_step / 4], int k, u64 keys) const {
    constexpr MatrixSwizzle swizzle = row_bytes == 128 ? MatrixSwizzle::bytes_128 : MatrixSwizzle::bytes_64;
    const int offset = k * 32 / row_bytes * panel_bytes + k * 32 % row_bytes;
    const u64 queries = matrix_descriptor(address(), 16, 8 * row_bytes, swizzle);
    Mma::run(scores, queries + static_cast<u64>(offset / 16), keys, k != 0);
  }

private:
  SALE_DEVICE u32 address() const {
    return dynamic_shared_address() + Layout::q_codes_offset + consumer_ * Layout::q_codes_bytes;
  }
  static SALE_DEVICE u32 warp_row() { return thread_index() % 128 / 32 * 16; }
  SALE_DEVICE u32 chunk_address(u32 row, int chunk) const {
    const u32 in_row = static_cast<u32>(chunk % chunks) ^ (row / rows_per_turn % chunks);
    return address() + chunk / chunks * panel_bytes + row * row_bytes + (in_row << 4);
  }

  u32 consumer_;
};

template <class Config, bool fit>
struct QueryCodesOf {
  using Type = CodesInRegisters<Config>;
};
template <class Config>
struct QueryCodesOf<Config, false> {
  using Type = CodesInShared<Config>;
};
