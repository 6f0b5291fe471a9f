// SPDX-License-Identifier: Apache-2.0
// The 64 query rows of a consumer as e4m3 codes, made from the 16-bit tile in shared memory (docs/numerics.md, section
// 14): the first operand of Q·K, in registers, or where wide rows do not fit, in the place of the tile.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "attend/attend_item.cuh"
#include "attend/attend_shared.cuh"
#include "common/codes.cuh"
#include "device/element.cuh"
#include "device/math.cuh"
#include "device/matrix_descriptor.cuh"
#include "device/memory.cuh"
#include "device/named_barrier.cuh"
#include "device/proxy_fence.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"
#include "device/wgmma.cuh"

// A lane's part of the tile: of rows lane/4 and lane/4 + 8 of its warp's 16, from each 16 channels 4(lane%4)..+3. So
// lie the bytes of an operand in registers: fragment[k][r + 2h] is of row r and channels 32k + 16h + ...
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
struct CodesInRegisters {
  using Mma = Wgmma<E4m3, f32, Config::keys_per_step, WgmmaSource::registers, WgmmaMajor::k, WgmmaDensity::dense>;
  static constexpr bool leave_early = true;

  SALE_DEVICE void take(u32 q_block, u32 /*consumer*/, const f32 (&power)[2]) {
    QueryTile<Config>(q_block).codes(fragment_, power);
  }
  SALE_DEVICE void multiply(f32 (&scores)[Config::keys_per_step / 2], int k, u64 keys) const {
    Mma::run(scores, fragment_[k], keys, k != 0);
  }

private:
  u32 fragment_[Config::head_dim / 32][4];
};

template <class Config>
struct CodesInShared {
  using Mma = Wgmma<E4m3, f32, Config::keys_per_step, WgmmaSource::shared, WgmmaMajor::k, WgmmaDensity::dense>;
  using Layout = AttendLayout<Config>;
  static constexpr bool leave_early = false;

  // A warp's rows of codes lie where the first panels of its own rows were.
  SALE_DEVICE void take(u32 q_block, u32 consumer, const f32 (&power)[2]) {
    u32 fragment[Config::head_dim / 32][4];
    QueryTile<Config>(q_block).codes(fragment, power);
    sync_warp();
#pragma unroll
    for (int i = 0; i < Config::head_dim / 8; ++i) {
      const u32 row = thread_index() % 128 / 32 * 16 + lane_index() / 4 + i % 2 * 8;
      const u32 chunk = i / 2 % 8;
      store_shared_4(q_block + i / 16 * Layout::q_panel_bytes + row * 128 + ((chunk ^ (row & 7U)) << 4) +
                         lane_index() % 4 * 4,
                     fragment[i / 4][i % 4]);
    }
    fence_async_proxy();
    barrier_sync(3 + consumer, 128); // 1 and 2 pass turns
    descriptor_ = matrix_descriptor(q_block, 16, 1024, MatrixSwizzle::bytes_128);
  }
  SALE_DEVICE void multiply(f32 (&scores)[Config::keys_per_step / 2], int k, u64 keys) const {
    Mma::run(scores, descriptor_ + static_cast<u64>((k / 4 * Layout::q_panel_bytes + k % 4 * 32) / 16), keys, k != 0);
  }

private:
  u64 descriptor_;
};

template <class Config, bool in_registers>
struct QueryCodesOf {
  using Type = CodesInRegisters<Config>;
};
template <class Config>
struct QueryCodesOf<Config, false> {
  using Type = CodesInShared<Config>;
};
