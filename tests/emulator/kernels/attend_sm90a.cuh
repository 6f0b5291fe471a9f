// SPDX-License-Identifier: Apache-2.0
// Flash attention over kept blocks of 64 x 64, warp-specialised: one producer thread walks the mask and loads K and V
// through tensor maps, two warpgroups of 64 query rows take turns on the tensor cores. Q·K of a tile overlaps with P·V
// of the one before; outputs leave through shared memory and tensor stores.
#pragma once

#include "device/bulk_copy.cuh"
#include "device/element.cuh"
#include "device/memory.cuh"
#include "device/stmatrix.cuh"
#include "sm90a.cuh"

struct AttendArgs {
  float *lse;               // [heads, q_len]
  const unsigned int *mask; // [heads, q_blocks, mask_words]
  int q_len;
  int kv_len;
  int mask_words;
  float softmax_scale;
};

// Rows of 16-bit channels lie in panels of 64 channels, 128 bytes a row, swizzled by the copy engine.
template <class Config>
struct AttendLayout {
  static constexpr int panels = Config::head_dim / 64;
  static constexpr int panel_bytes = 64 * 128;
  static constexpr int tile_bytes = panels * panel_bytes; // 64 rows
  static constexpr int k_offset = Warpgroups::consumers * tile_bytes;
  static constexpr int v_offset = k_offset + Config::stages * tile_bytes;
  static constexpr int barrier_offset = v_offset + Config::stages * tile_bytes;
  static constexpr int shared_bytes = barrier_offset + 8 + 2 * Ring<Config::stages, tile_bytes>::barrier_bytes;
};

// Where everything lies in shared memory, which starts at a multiple of 1024.
template <class Config>
struct AttendShared {
  using Layout = AttendLayout<Config>;
  using TileRing = Ring<Config::stages, Layout::tile_bytes>;

  u32 q = dynamic_shared_address();
  u32 q_full = q + Layout::barrier_offset;
  TileRing k{q + Layout::k_offset, q_full + 8};
  TileRing v{q + Layout::v_offset, q_full + 8 + TileRing::barrier_bytes};
};

// The key blocks that either warpgroup's query block keeps and some row of the CTA sees, ascending.
template <class Config>
class TileWalk {
public:
  SALE_DEVICE TileWalk(const AttendArgs &args, s32 first_row, s32 head) : words_(args.mask_words) {
    const s32 q_blocks = ceil_div(args.q_len, 64);
    const s32 block = first_row / 64;
    first_ = args.mask + (static_cast<s64>(head) * q_blocks + block) * words_;
    has_second_ = block + 1 < q_blocks;
    const s32 seen = Config::causal ? args.kv_len - args.q_len + first_row + 128 : args.kv_len;
    end_ = ceil_div(imin(seen, args.kv_len), 64);
  }

  SALE_DEVICE bool next() {
    do {
      tile_ += 1;
      if (tile_ >= end_) {
        return false;
      }
      if (tile_ % 32 == 0) {
        word_[0] = load_global_4(first_ + tile_ / 32);
        word_[1] = has_second_ ? load_global_4(first_ + words_ + tile_ / 32) : 0;
      }
    } while (((word_[0] | word_[1]) >> tile_ % 32 & 1U) == 0);
    return true;
  }

  SALE_DEVICE s32 key() const { return tile_ * 64; }
  SALE_DEVICE bool kept_by(u32 consumer) const {
    return ((consumer == 0 ? word_[0] : word_[1]) >> tile_ % 32 & 1U) != 0;
  }

private:
  const u32 *first_;
  s32 words_;
  bool has_second_;
  s32 end_;
  s32 tile_ = -1;
  u32 word_[2] = {0, 0};
};

template <class Config>
SALE_DEVICE void load_tiles(const TensorMap *q, const TensorMap *k, const TensorMap *v, const AttendArgs &args,
                            s32 first_row, s32 head) {
  using Layout = AttendLayout<Config>;
  const AttendShared<Config> shared;
  mbarrier_expect(shared.q_full, Warpgroups::consumers * Layout::tile_bytes);
  for (int i = 0; i < Warpgroups::consumers * Layout::panels; ++i) {
    tensor_load_3d(shared.q + static_cast<u32>(i) * Layout::panel_bytes, q, shared.q_full, i % Layout::panels * 64,
                   first_row + i / Layout::panels * 64, head);
  }
  TileWalk<Config> walk(args, first_row, head);
  typename AttendShared<Config>::TileRing::Position at;
  const auto load = [&](const typename AttendShared<Config>::TileRing &ring, const TensorMap *map) {
    ring.acquire(at);
    for (int panel = 0; panel < Layout::panels; ++panel) {
      tensor_load_3d(ring.tile(at) + static_cast<u32>(panel) * Layout::panel_bytes, map, ring.full(at), panel * 64,
                     walk.key(), head / Config::gqa);
    }
  };
  while (walk.next()) {
    load(shared.k, k);
    load(shared.v, v);
    at.advance();
  }
}

// The 64 query rows of one warpgroup. A lane holds rows Warpgroups::row() and 8 further; of each 8-column tile of
// scores and output columns 2(lane%4) and 2(lane%4) + 1, as elements 4·tile + 2·(row half) + column.
template <class Config>
class ConsumerRows {
  using Layout = AttendLayout<Config>;
  using Shared = AttendShared<Config>;
  using Position = typename Shared::TileRing::Position;
  using ScoresMma = Wgmma<Bf16, f32, 64, WgmmaSource::shared, WgmmaMajor::k, WgmmaDensity::dense>;
  using ValuesMma = Wgmma<Bf16, f32, Config::head_dim, WgmmaSource::registers, WgmmaMajor::mn, WgmmaDensity::dense>;

public:
  // position: key position of the first row.
  SALE_DEVICE ConsumerRows(u32 consumer, s32 position, const AttendArgs &args)
      : q_(shared_.q + consumer * Layout::tile_bytes), position_(position), kv_len_(args.kv_len),
        scale_log2_(args.softmax_scale * log2_of_e()), turn_(consumer) {
#pragma unroll
    for (int i = 0; i < Config::head_dim / 2; ++i) {
      out_[i] = 0.0F;
    }
    if (consumer == 1) {
      barrier_arrive(first_turn, both); // consumer 0 begins
    }
    mbarrier_wait(shared_.q_full, 0);
  }

  // A tile that these rows keep.
  SALE_DEVICE void step(s32 key) {
    f32 scores[32];
    f32 alpha[2];
    shared_.k.wait(k_at_);
    take_turn();
    multiply_keys(scores);
    if (pending_) {
      shared_.v.wait(v_at_);
      multiply_values();
      pass_turn();
      wgmma_wait<1>();
      leave_keys();
      soften(scores, alpha, key);
      wgmma_wait<0>();
      leave_values();
    } else {
      pass_turn();
      wgmma_wait<0>();
      leave_keys();
      soften(scores, alpha, key);
    }
    rescale(alpha);
    pack(scores);
    pending_ = true;
  }

  // A tile that only the other rows keep.
  SALE_DEVICE void skip() {
    drain();
    take_turn();
    pass_turn();
    shared_.k.wait(k_at_);
    leave_keys();
    shared_.v.wait(v_at_);
    leave_values();
  }

  // Stores the rows; out's box is one panel of 64 rows.
  SALE_DEVICE void finish(const TensorMap *out, f32 *lse, s32 first_row, s32 head, s32 q_len) {
    drain();
    if (turn_ == 0) {
      barrier_sync(first_turn, both); // the turn that consumer 1 passed last
    }
    const s32 lane = static_cast<s32>(lane_index());
    f32 inverse[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      f32 sum = sum_[r];
      sum += shuffle_xor(sum, 1);
      sum += shuffle_xor(sum, 2);
      inverse[r] = sum > 0.0F ? rcp_approx(sum) : 0.0F;
      const s32 row = first_row + Warpgroups::row() + r * 8;
      if (lane % 4 == 0 && row < q_len) {
        store_global_f32(lse + static_cast<s64>(head) * q_len + row,
                         sum > 0.0F ? (base_of(max_[r]) + log2_approx(sum)) * ln_of_2() : -infinity());
      }
    }
    const u32 row = thread_index() % 128 / 32 * 16 + static_cast<u32>(lane % 16);
#pragma unroll
    for (int n = 0; n < Config::head_dim / 16; ++n) {
      u32 tiles[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = 8 * n + i / 2 * 4 + i % 2 * 2;
        tiles[i] = Bf16::pack(out_[at] * inverse[i % 2], out_[at + 1] * inverse[i % 2]);
      }
      const u32 chunk = static_cast<u32>(n % 4 * 2 + lane / 16);
      stmatrix_x4(q_ + static_cast<u32>(n / 4) * Layout::panel_bytes + row * 128 + ((chunk ^ (row & 7U)) << 4), tiles);
    }
    fence_async_proxy();
    sync_warpgroup();
    if (thread_index() % 128 == 0) {
      for (int panel = 0; panel < Layout::panels; ++panel) {
        tensor_store_3d(out, q_ + static_cast<u32>(panel) * Layout::panel_bytes, panel * 64, first_row, head);
      }
      bulk_commit();
      bulk_wait_read<0>();
    }
  }

private:
  // Named barriers: 1 and 2 pass the turn to consumers 0 and 1, 3 and 4 are a consumer's own.
  static constexpr u32 first_turn = 1;
  static constexpr u32 both = 128 * Warpgroups::consumers;
  SALE_DEVICE void take_turn() const { barrier_sync(first_turn + turn_, both); }
  SALE_DEVICE void pass_turn() const { barrier_arrive(first_turn + 1 - turn_, both); }
  SALE_DEVICE void sync_warpgroup() const { barrier_sync(3 + turn_, 128); }

  SALE_DEVICE void leave_keys() {
    shared_.k.release(k_at_);
    k_at_.advance();
  }
  SALE_DEVICE void leave_values() {
    shared_.v.release(v_at_);
    v_at_.advance();
  }

  SALE_DEVICE void multiply_keys(f32 (&scores)[32]) const {
    const u32 k_tile = shared_.k.tile(k_at_);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < Config::head_dim / 16; ++k) {
      const u32 offset = static_cast<u32>(k / 4) * Layout::panel_bytes + static_cast<u32>(k % 4) * 32;
      ScoresMma::run(scores, matrix_descriptor(q_ + offset, 16, 1024, MatrixSwizzle::bytes_128),
                     matrix_descriptor(k_tile + offset, 16, 1024, MatrixSwizzle::bytes_128), k != 0);
    }
    wgmma_commit();
  }

  SALE_DEVICE void multiply_values() {
    const u32 v_tile = shared_.v.tile(v_at_);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      ValuesMma::run(
          out_, p_[k],
          matrix_descriptor(v_tile + static_cast<u32>(k) * 2048, Layout::panel_bytes, 1024, MatrixSwizzle::bytes_128),
          true);
    }
    wgmma_commit();
  }

  // The product with the values of the last tile, if it is still to come.
  SALE_DEVICE void drain() {
    if (pending_) {
      shared_.v.wait(v_at_);
      multiply_values();
      wgmma_wait<0>();
      leave_values();
      pending_ = false;
    }
  }

  SALE_DEVICE f32 base_of(f32 highest) const { return highest == -infinity() ? 0.0F : mul_rn(highest, scale_log2_); }

  // Online softmax: scores become probabilities relative to the new maximum; the output so far is worth alpha of it.
  SALE_DEVICE void soften(f32 (&scores)[32], f32 (&alpha)[2], s32 key) {
    const s32 lane = static_cast<s32>(lane_index());
    if (key + 63 > (Config::causal ? position_ : kv_len_ - 1)) {
#pragma unroll
      for (int i = 0; i < 32; ++i) {
        const s32 row_position = position_ + Warpgroups::row() + i % 4 / 2 * 8;
        if (key + i / 4 * 8 + lane % 4 * 2 + i % 2 > (Config::causal ? row_position : kv_len_ - 1)) {
          scores[i] = -infinity();
        }
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      f32 highest = max_[r];
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        highest = max_f32(highest, max_f32(scores[4 * n + 2 * r], scores[4 * n + 2 * r + 1]));
      }
      highest = max_f32(highest, shuffle_xor(highest, 1));
      highest = max_f32(highest, shuffle_xor(highest, 2));
      const f32 base = base_of(highest);
      alpha[r] = max_[r] == -infinity() ? 0.0F : exp2_approx(sub_rn(base_of(max_[r]), base));
      max_[r] = highest;
      f32 sum = 0.0F;
#pragma unroll
      for (int n = 0; n < 8; ++n) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          f32 &score = scores[4 * n + 2 * r + c];
          score = exp2_approx(fma_rn(score, scale_log2_, -base));
          sum += score;
        }
      }
      sum_[r] = sum_[r] * alpha[r] + sum;
    }
  }

  SALE_DEVICE void rescale(const f32 (&alpha)[2]) {
#pragma unroll
    for (int i = 0; i < Config::head_dim / 2; ++i) {
      out_[i] *= alpha[i % 4 / 2];
    }
  }

  // The accumulator fragments of the scores are the A fragments of P·V.
  SALE_DEVICE void pack(const f32 (&scores)[32]) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        p_[k][i] = Bf16::pack(scores[8 * k + 2 * i], scores[8 * k + 2 * i + 1]);
      }
    }
  }

  const Shared shared_;
  u32 q_;
  s32 position_;
  s32 kv_len_;
  f32 scale_log2_;
  u32 turn_;
  Position k_at_;
  Position v_at_;
  bool pending_ = false; // p_ has not met its values yet
  f32 max_[2] = {-infinity(), -infinity()};
  f32 sum_[2] = {0.0F, 0.0F}; // this lane's share
  f32 out_[Config::head_dim / 2];
  u32 p_[4][4];
};

// Grid: (ceil(q_len / 128), heads).
template <class Config>
SALE_DEVICE void attend(const TensorMap *q, const TensorMap *k, const TensorMap *v, const TensorMap *out,
                        const AttendArgs &args) {
  const s32 first_row = static_cast<s32>(block_x()) * 128;
  const s32 head = static_cast<s32>(block_y());
  if (thread_index() == 0) {
    const AttendShared<Config> shared;
    mbarrier_init(shared.q_full, 1);
    shared.k.init();
    shared.v.init();
    mbarrier_init_fence();
  }
  sync_threads();
  if (Warpgroups::index() == 0) {
    decrease_registers<24>();
    if (thread_index() < 32 && elect_lane()) {
      load_tiles<Config>(q, k, v, args, first_row, head);
    }
  } else {
    increase_registers<240>();
    const u32 consumer = Warpgroups::index() - 1;
    const s32 row = first_row + static_cast<s32>(consumer) * 64;
    const s32 position = args.kv_len - args.q_len + row;
    ConsumerRows<Config> rows(consumer, position, args);
    TileWalk<Config> walk(args, first_row, head);
    while (walk.next()) {
      if (walk.kept_by(consumer) && (!Config::causal || walk.key() <= position + 63)) {
        rows.step(walk.key());
      } else {
        rows.skip();
      }
    }
    rows.finish(out, args.lse, row, head, args.q_len);
  }
}

SALE_KERNEL void SALE_LAUNCH_BOUNDS(Warpgroups::threads, 1)
    attend_sm90a(SALE_GRID_CONSTANT const TensorMap q, SALE_GRID_CONSTANT const TensorMap k,
                 SALE_GRID_CONSTANT const TensorMap v, SALE_GRID_CONSTANT const TensorMap out, const AttendArgs args) {
  attend<Config>(&q, &k, &v, &out, args);
}
