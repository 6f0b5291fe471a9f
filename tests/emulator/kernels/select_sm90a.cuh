// SPDX-License-Identifier: Apache-2.0
// Estimates by 8-bit wgmma, reduced at once to one bit per (64 query rows, 32 keys). The two warpgroups of consumers
// take two query heads that share their keys. With Config::sparse the rows of Q are 2:4 sparse: they hold half of the
// channels, the same two of every four.
#pragma once

#include "device/element.cuh"
#include "device/memory.cuh"
#include "sm90a.cuh"

struct SelectArgs {
  const float *theta; // [heads, q_len]
  unsigned int *mask; // [heads, q_blocks, mask_words]
  int q_len;
  int kv_len;
  int mask_words; // at most Config::mask_words
};

template <class Config>
struct SelectLayout {
  static constexpr int q_row_bytes = Config::sparse ? Config::head_dim / 2 : Config::head_dim;
  static constexpr int q_tile_bytes = 64 * q_row_bytes;
  static constexpr int k_tile_bytes = 64 * Config::head_dim;
  static constexpr int k_offset = Warpgroups::consumers * q_tile_bytes;
  static constexpr int mask_offset = k_offset + Config::stages * k_tile_bytes;
  static constexpr int barrier_offset = mask_offset + Warpgroups::consumers * Config::mask_words * 4;
  static constexpr int shared_bytes = barrier_offset + 8 + Ring<Config::stages, k_tile_bytes>::barrier_bytes;
  static_assert(barrier_offset % 8 == 0, "barriers are 8-byte aligned");
};

template <class Config>
struct SelectShared {
  using Layout = SelectLayout<Config>;
  using TileRing = Ring<Config::stages, Layout::k_tile_bytes>;

  u32 q = dynamic_shared_address();
  u32 mask = q + Layout::mask_offset;
  u32 q_full = q + Layout::barrier_offset;
  TileRing k{q + Layout::k_offset, q_full + 8};
};

// What the copy engine's swizzle of rows of so many bytes is called in a descriptor.
template <int row_bytes>
SALE_DEVICE u64 rows_descriptor(u32 address) {
  static_assert(row_bytes == 128 || row_bytes == 64, "a row is one swizzled line");
  return matrix_descriptor(address, 16, 8 * row_bytes,
                           row_bytes == 128 ? MatrixSwizzle::bytes_128 : MatrixSwizzle::bytes_64);
}

template <class Config>
SALE_DEVICE s32 end_tile(const SelectArgs &args, s32 first_row) {
  return ceil_div(imin(args.kv_len - args.q_len + first_row + 64, args.kv_len), 64);
}

template <class Config>
SALE_DEVICE void load_tiles(const TensorMap *q, const TensorMap *k, const SelectArgs &args, s32 first_row,
                            s32 kv_head) {
  using Layout = SelectLayout<Config>;
  const SelectShared<Config> shared;
  mbarrier_expect(shared.q_full, Warpgroups::consumers * Layout::q_tile_bytes);
  for (int i = 0; i < Warpgroups::consumers; ++i) {
    tensor_load_3d(shared.q + static_cast<u32>(i) * Layout::q_tile_bytes, q, shared.q_full, 0, first_row,
                   kv_head * Warpgroups::consumers + i);
  }
  typename SelectShared<Config>::TileRing::Position at;
  for (s32 tile = 0; tile < end_tile<Config>(args, first_row); ++tile) {
    shared.k.acquire(at);
    tensor_load_3d(shared.k.tile(at), k, shared.k.full(at), 0, tile * 64, kv_head);
    at.advance();
  }
}

template <class Config>
class EstimateRows {
  using Layout = SelectLayout<Config>;
  using Shared = SelectShared<Config>;
  using Result = typename Config::Result;
  using Mma = Wgmma<typename Config::Operand, Result, 64, WgmmaSource::shared, WgmmaMajor::k,
                    Config::sparse ? WgmmaDensity::sparse : WgmmaDensity::dense>;

public:
  SALE_DEVICE EstimateRows(u32 consumer, s32 head, s32 first_row, const SelectArgs &args)
      : q_(shared_.q + consumer * Layout::q_tile_bytes), mask_(shared_.mask + consumer * Config::mask_words * 4),
        position_(args.kv_len - args.q_len + first_row + Warpgroups::row()) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const s32 row = first_row + Warpgroups::row() + 8 * r;
      theta_[r] =
          row < args.q_len ? load_global_f32(args.theta + static_cast<s64>(head) * args.q_len + row) : infinity();
    }
    mbarrier_wait(shared_.q_full, 0);
  }

  SALE_DEVICE void step(s32 tile) {
    Result estimate[32];
    shared_.k.wait(at_);
    wgmma_fence();
    multiply(estimate);
    wgmma_commit();
    wgmma_wait<0>();
    shared_.k.release(at_);
    at_.advance();
    u32 bits = 0;
    const s32 first_key = tile * 64 + static_cast<s32>(lane_index() % 4) * 2;
#pragma unroll
    for (int i = 0; i < 32; ++i) {
      const s32 key = first_key + i / 4 * 8 + i % 2;
      const bool above = !(static_cast<f32>(estimate[i]) <= theta_[i % 4 / 2]); // NaN keeps
      if (above && key <= position_ + i % 4 / 2 * 8) {
        bits |= 1U << i / 16;
      }
    }
    bits = reduce_or(bits);
    if (bits != 0 && lane_index() == 0) {
      or_shared(mask_ + static_cast<u32>(tile / 16) * 4, bits << tile % 16 * 2);
    }
  }

private:
  SALE_DEVICE void multiply(Result (&estimate)[32]) const {
    constexpr int step_bytes = Config::sparse ? 64 : 32; // of a row of K; 32 of Q either way
#pragma unroll
    for (int k = 0; k < Config::head_dim / step_bytes; ++k) {
      const u64 a = rows_descriptor<Layout::q_row_bytes>(q_ + static_cast<u32>(k) * 32);
      const u64 b = rows_descriptor<Config::head_dim>(shared_.k.tile(at_) + static_cast<u32>(k * step_bytes));
      if constexpr (Config::sparse) {
        Mma::run(estimate, a, b, Config::metadata, k != 0);
      } else {
        Mma::run(estimate, a, b, k != 0);
      }
    }
  }

  const Shared shared_;
  u32 q_;
  u32 mask_;
  s32 position_; // of the lane's first row
  typename Shared::TileRing::Position at_;
  f32 theta_[2];
};

// Grid: (q_blocks, kv_heads).
template <class Config>
SALE_DEVICE void select(const TensorMap *q, const TensorMap *k, const SelectArgs &args) {
  const SelectShared<Config> shared;
  const s32 first_row = static_cast<s32>(block_x()) * 64;
  const s32 kv_head = static_cast<s32>(block_y());
  if (thread_index() < Warpgroups::consumers * Config::mask_words) {
    store_shared_4(shared.mask + thread_index() * 4, 0);
  }
  if (thread_index() == 0) {
    mbarrier_init(shared.q_full, 1);
    shared.k.init();
    mbarrier_init_fence();
  }
  sync_threads();
  if (Warpgroups::index() == 0) {
    decrease_registers<40>();
    if (thread_index() < 32 && elect_lane()) {
      load_tiles<Config>(q, k, args, first_row, kv_head);
    }
    return;
  }
  increase_registers<232>();
  const u32 consumer = Warpgroups::index() - 1;
  const s32 head = kv_head * Warpgroups::consumers + static_cast<s32>(consumer);
  EstimateRows<Config> rows(consumer, head, first_row, args);
  for (s32 tile = 0; tile < end_tile<Config>(args, first_row); ++tile) {
    rows.step(tile);
  }
  barrier_sync(1 + consumer, 128);
  const u32 word = thread_index() % 128;
  if (word < static_cast<u32>(args.mask_words)) {
    const s64 row = static_cast<s64>(head) * grid_x() + block_x();
    store_global_4(args.mask + row * args.mask_words + word,
                   load_shared_4(shared.mask + (consumer * Config::mask_words + word) * 4));
  }
}

SALE_KERNEL void SALE_LAUNCH_BOUNDS(Warpgroups::threads, 1)
    select_sm90a(SALE_GRID_CONSTANT const TensorMap q, SALE_GRID_CONSTANT const TensorMap k, const SelectArgs args) {
  select<Config>(&q, &k, args);
}
