// SPDX-License-Identifier: Apache-2.0
// 64 query rows of one head in the registers of a warpgroup, multiplied with tiles of keys.
#pragma once

#include "args/select_wgmma_args.cuh"
#include "common/estimator.cuh"
#include "common/sequence.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/wgmma.cuh"
#include "select/wgmma/code_ring.cuh"
#include "select/wgmma/fp8_decision.cuh"
#include "select/wgmma/int8_decision.cuh"
#include "select/wgmma/select_units.cuh"

template <class Config, Estimator estimator>
struct SelectDecision;
template <class Config>
struct SelectDecision<Config, Estimator::fp8> {
  using type = Fp8Decision<Config>;
};
template <class Config>
struct SelectDecision<Config, Estimator::int8> {
  using type = Int8Decision<Config>;
};

template <class Config>
class CodeRows {
  using Layout = SelectLayout<Config>;
  static constexpr int step_bytes = Config::pruned ? 64 : 32; // of a row of K that one wgmma takes
  static constexpr int k_steps = Layout::row_bytes / step_bytes;
  static constexpr int q_row_bytes = k_steps * 32;

public:
  using Decision = typename SelectDecision<Config, Config::estimator>::type;
  using Products = typename Decision::Word[Decision::words];
  static constexpr int blocks = Layout::keys / Config::block_k; // key blocks of a tile

  // Registers that load_codes() fills.
  static constexpr int code_registers = k_steps * (Config::pruned ? 5 : 4);

  // Of a sequence's unit; `sequence` is read where the batch is ragged. Both start loading; who uses the values waits
  // for them.
  SALE_DEVICE void load_thresholds(const SelectWgmmaArgs &args, const SelectUnit<Config> &unit, s32 sequence) {
    decision_.load(args.theta + first_row(args, unit, sequence) + lane_row());
  }
  SALE_DEVICE void load_codes(const SelectWgmmaArgs &args, const SelectUnit<Config> &unit, s32 sequence) {
    const s64 first = first_row(args, unit, sequence);
    const u8 *q = args.q_codes + (first + lane_row()) * q_row_bytes + lane_index() % 4 * 4;
#pragma unroll
    for (int k = 0; k < k_steps; ++k) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        q_[k][r] = load_global_4(q + r * 8 * q_row_bytes + k * 32);
        q_[k][r + 2] = load_global_4(q + r * 8 * q_row_bytes + k * 32 + 16);
      }
      if constexpr (Config::pruned) {
        metadata_[k] = load_global_4(args.q_metadata + (first / 64 * k_steps + k) * 128 + thread_index() % 128);
      }
    }
  }

  // Brings near what load_codes() will load.
  SALE_DEVICE void touch_codes(const SelectWgmmaArgs &args, const SelectUnit<Config> &unit, s32 sequence) const {
    const u8 *q = args.q_codes + (first_row(args, unit, sequence) + lane_row()) * q_row_bytes;
#pragma unroll
    for (u32 at = lane_index() % 4 * 32; at < q_row_bytes; at += 128) {
      load_global_4(q + at);
      load_global_4(q + 8 * q_row_bytes + at);
    }
  }

  // Between load_thresholds() and below().
  SALE_DEVICE void settle() { decision_.settle(); }

  // Starts D = Q · K for the ring's present tile; wgmma_wait() ends it.
  SALE_DEVICE void multiply(Products &d, const CodeRing<Config> &ring) const {
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < k_steps; ++k) {
      if constexpr (Config::pruned) {
        Mma::run(d, q_[k], ring.descriptor(k * step_bytes), metadata_[k], k != 0);
      } else {
        Mma::run(d, q_[k], ring.descriptor(k * step_bytes), k != 0);
      }
    }
    wgmma_commit();
  }

  // See Decision::below().
  SALE_DEVICE u32 below(const Products &d, const typename Decision::Scales &scales) const {
    return decision_.below(d, scales);
  }

private:
  using Mma = Wgmma<typename Config::Operand, typename Decision::Result, Layout::keys, WgmmaSource::registers,
                    WgmmaMajor::k, Config::pruned ? WgmmaDensity::sparse : WgmmaDensity::dense>;

  static SALE_DEVICE s64 first_row(const SelectWgmmaArgs &args, const SelectUnit<Config> &unit, s32 sequence) {
    if constexpr (Config::ragged) {
      return Sequence<Config>(args, sequence).query_row(args, args.num_q_heads, unit.query_head) + unit.first_row;
    } else {
      return unit.query_head * (ceil_div(args.q_len, 128) * s64{128}) + unit.first_row;
    }
  }
  static SALE_DEVICE u32 lane_row() { return thread_index() % 128 / 32 * 16 + lane_index() / 4; }

  u32 q_[k_steps][4];
  u32 metadata_[k_steps];
  Decision decision_;
};
