// SPDX-License-Identifier: Apache-2.0
// The 64 query rows of a consumer of wgmma attend. A lane holds rows row() and row() + 8; of each tile of 8 columns,
// 2(lane%4) and 2(lane%4) + 1, as elements 4·tile + 2·(row half) + column. Q·K of a tile runs beside P·V of the one
// before and the softmax between them.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "attend/attend_item.cuh"
#include "attend/attend_shared.cuh"
#include "attend/tickets.cuh"
#include "device/element.cuh"
#include "device/ldmatrix.cuh"
#include "device/math.cuh"
#include "device/matrix_descriptor.cuh"
#include "device/memory.cuh"
#include "device/named_barrier.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"
#include "device/wgmma.cuh"

// Queries as the first operand of Q·K: in registers, so that their place is free for the next item's at once and the
// products read less of shared memory; wide rows do not fit and stay where they are.
template <class Config>
struct QueriesInRegisters {
  using Mma = Wgmma<typename Config::Element, f32, Config::keys_per_step, WgmmaSource::registers, WgmmaMajor::k,
                    WgmmaDensity::dense>;
  static constexpr bool leave_early = true;

  SALE_DEVICE void take(u32 q_block) {
    const u32 row = thread_index() % 128 / 32 * 16 + lane_index() % 16;
#pragma unroll
    for (int k = 0; k < Config::head_dim / 16; ++k) {
      const u32 chunk = k % 4 * 2 + lane_index() / 16;
      ldmatrix_x4(fragment_[k],
                  q_block + k / 4 * AttendLayout<Config>::q_panel_bytes + row * 128 + ((chunk ^ (row & 7U)) << 4));
    }
  }
  SALE_DEVICE void multiply(f32 (&scores)[Config::keys_per_step / 2], int k, u64 keys) const {
    Mma::run(scores, fragment_[k], keys, k != 0);
  }

private:
  u32 fragment_[Config::head_dim / 16][4];
};

template <class Config>
struct QueriesInShared {
  using Mma = Wgmma<typename Config::Element, f32, Config::keys_per_step, WgmmaSource::shared, WgmmaMajor::k,
                    WgmmaDensity::dense>;
  static constexpr bool leave_early = false;

  SALE_DEVICE void take(u32 q_block) { descriptor_ = matrix_descriptor(q_block, 16, 1024, MatrixSwizzle::bytes_128); }
  SALE_DEVICE void multiply(f32 (&scores)[Config::keys_per_step / 2], int k, u64 keys) const {
    const int offset = k / 4 * AttendLayout<Config>::q_panel_bytes + k % 4 * 32;
    Mma::run(scores, descriptor_ + static_cast<u64>(offset / 16), keys, k != 0);
  }

private:
  u64 descriptor_;
};

template <class Config, bool in_registers>
struct QueriesOf {
  using Type = QueriesInRegisters<Config>;
};
template <class Config>
struct QueriesOf<Config, false> {
  using Type = QueriesInShared<Config>;
};

template <class Config>
class ConsumerRows {
  using Element = typename Config::Element;
  using Layout = AttendLayout<Config>;
  using Queries = typename QueriesOf<Config, (Config::head_dim <= 128)>::Type;
  using ValuesMma = Wgmma<Element, f32, Config::head_dim, WgmmaSource::registers, WgmmaMajor::mn, WgmmaDensity::dense>;
  static constexpr int key_tiles = Config::keys_per_step / 8;
  static constexpr int out_tiles = Config::head_dim / 8;
  // The base of the exponentials follows the maximum only when that has grown by this much, in log2: probabilities
  // stay below 2^8, and the output need not be rescaled for every tile.
  static constexpr f32 max_growth = 8.0F;

public:
  SALE_DEVICE ConsumerRows(const AttendWgmmaArgs &args, u32 consumer)
      : args_(args), consumer_(consumer), scale_log2_(args.softmax_scale * log2_of_e()) {
    if (takes_turns && consumer_ == 1) {
      pass_turn(); // consumer 0 begins
    }
  }

  SALE_DEVICE void begin(s32 number) {
    const AttendItem<Config> item(args_, number);
    number_ = number;
    position_ = item.position + static_cast<s32>(consumer_) * 64 + row();
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      max_[r] = -infinity();
      sum_[r] = 0.0F;
    }
#pragma unroll
    for (int i = 0; i < 4 * out_tiles; ++i) {
      out_[i] = 0.0F;
    }
    shared_.q.wait_full(q_place_);
    queries_.take(shared_.q.data(q_place_) + consumer_ * Layout::q_block_bytes);
    if constexpr (Queries::leave_early) {
      leave_queries();
    }
  }

  // A tile of these rows; frees the ticket.
  SALE_DEVICE void step(Ticket ticket, TicketRing<Config> &tickets) {
    if (pending_) {
      step<true>(ticket, tickets);
    } else {
      step<false>(ticket, tickets);
    }
    values_ = ticket.values_place();
    pending_ = true;
    foreign_ = 0;
  }

  // A tile of other rows only. Own values cannot wait for long: the place of theirs may be the next to load.
  SALE_DEVICE void pass() {
    foreign_ += 1;
    if (foreign_ == Config::stages - 1) {
      drain();
    }
  }

  // Ends an item, if there is one.
  SALE_DEVICE void finish() {
    if (number_ < 0) {
      return;
    }
    if constexpr (!Queries::leave_early) {
      leave_queries();
    }
    drain();
    store();
  }

private:
  static constexpr bool takes_turns = Config::consumers == 2;
  static SALE_DEVICE bool is_shared(Ticket ticket) { return takes_turns && ticket.users() == 3; }
  SALE_DEVICE void take_turn() const { barrier_sync(1 + consumer_, 256); }
  SALE_DEVICE void pass_turn() const { barrier_arrive(2 - consumer_, 256); }

  // With P·V of the tile before, if that is still to come.
  template <bool with_values>
  SALE_DEVICE void step(Ticket ticket, TicketRing<Config> &tickets) {
    const RingPlace place = ticket.place();
    f32 scores[4 * key_tiles];
    shared_.k.wait_full(place);
    if (is_shared(ticket)) {
      take_turn();
    }
    multiply_keys(scores, place);
    if constexpr (with_values) {
      shared_.v.wait_full(values_);
      multiply_values();
    }
    if (is_shared(ticket)) {
      pass_turn();
    }
    if constexpr (with_values) {
      wgmma_wait<1>();
    } else {
      wgmma_wait<0>();
    }
    wgmma_results(scores);
    shared_.k.release(place);
    if (ticket.is_masked(consumer_)) {
      mask(scores, tickets);
    }
    tickets.release();
    f32 alpha[2];
    const bool grown = soften(scores, alpha);
    if constexpr (with_values) {
      wgmma_wait<0>();
      wgmma_results(out_);
      shared_.v.release(values_);
    }
    if (grown) {
#pragma unroll
      for (int i = 0; i < 4 * out_tiles; ++i) {
        out_[i] *= alpha[i % 4 / 2];
      }
    }
    pack(scores);
  }

  // Within the 64.
  static SALE_DEVICE s32 row() { return static_cast<s32>(thread_index() % 128 / 32 * 16 + lane_index() / 4); }

  SALE_DEVICE void leave_queries() {
    shared_.q.release(q_place_);
    q_place_.template advance<1>();
  }

  SALE_DEVICE void multiply_keys(f32 (&scores)[4 * key_tiles], const RingPlace &place) {
    const u64 keys = matrix_descriptor(shared_.k.data(place), 16, 1024, MatrixSwizzle::bytes_128);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < Config::head_dim / 16; ++k) {
      queries_.multiply(scores, k, keys + static_cast<u64>((k / 4 * Layout::panel_bytes + k % 4 * 32) / 16));
    }
    wgmma_commit();
  }

  SALE_DEVICE void multiply_values() {
    const u64 values = matrix_descriptor(shared_.v.data(values_), Layout::panel_bytes, 1024, MatrixSwizzle::bytes_128);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < key_tiles / 2; ++k) {
      ValuesMma::run(out_, p_[k], values + static_cast<u64>(k * 2048 / 16), true);
    }
    wgmma_commit();
  }

  // The product with the values of the last tile, if it is still to come.
  SALE_DEVICE void drain() {
    if (pending_) {
      shared_.v.wait_full(values_);
      multiply_values();
      wgmma_wait<0>();
      wgmma_results(out_);
      shared_.v.release(values_);
      pending_ = false;
    }
  }

  // Scores of keys that a row does not see or that these rows do not keep become -inf.
  SALE_DEVICE void mask(f32 (&scores)[4 * key_tiles], const TicketRing<Config> &tickets) const {
    constexpr int tiles_per_granule = Granule<Config>::keys / 8;
    constexpr s32 never = 0x7fff0000;
#pragma unroll
    for (int g = 0; g < Granule<Config>::per_tile; ++g) {
      const u32 entry = tickets.entry(g);
      const bool kept = (Granule<Config>::keep(entry) >> consumer_ & 1U) != 0;
      // How far the lane's first column of the granule lies past the lane's first row.
      const s32 ahead =
          kept ? Granule<Config>::first_key(entry) + static_cast<s32>(lane_index() % 4 * 2) - position_ : never;
#pragma unroll
      for (int i = 0; i < 4 * tiles_per_granule; ++i) {
        if (ahead + i / 4 * 8 + i % 2 > i % 4 / 2 * 8) {
          scores[g * 4 * tiles_per_granule + i] = -infinity();
        }
      }
    }
  }

  SALE_DEVICE f32 base_of(f32 highest) const { return highest == -infinity() ? 0.0F : mul_rn(highest, scale_log2_); }

  // Online softmax: scores become probabilities. Returns whether the output so far is worth alpha of it.
  SALE_DEVICE bool soften(f32 (&scores)[4 * key_tiles], f32 (&alpha)[2]) {
    f32 highest[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      f32 even = max_[r];
      f32 odd = max_[r];
#pragma unroll
      for (int n = 0; n < key_tiles; ++n) {
        even = max_f32(even, scores[4 * n + 2 * r]);
        odd = max_f32(odd, scores[4 * n + 2 * r + 1]);
      }
      f32 both = max_f32(even, odd);
      both = max_f32(both, shuffle_xor(both, 1));
      highest[r] = max_f32(both, shuffle_xor(both, 2));
    }
    // -inf minus -inf is NaN, which is no growth.
    const bool grown = warp_any(mul_rn(sub_rn(highest[0], max_[0]), scale_log2_) > max_growth ||
                                mul_rn(sub_rn(highest[1], max_[1]), scale_log2_) > max_growth);
    if (grown) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        alpha[r] = max_[r] == -infinity() ? 0.0F : exp2_approx(sub_rn(base_of(max_[r]), base_of(highest[r])));
        max_[r] = highest[r];
        sum_[r] *= alpha[r];
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const f32 base = base_of(max_[r]);
      f32 even = sum_[r];
      f32 odd = 0.0F;
#pragma unroll
      for (int n = 0; n < key_tiles; ++n) {
        f32 &a = scores[4 * n + 2 * r];
        f32 &b = scores[4 * n + 2 * r + 1];
        a = exp2_approx(fma_rn(a, scale_log2_, -base));
        b = exp2_approx(fma_rn(b, scale_log2_, -base));
        even += a;
        odd += b;
      }
      sum_[r] = even + odd;
    }
    return grown;
  }

  // The accumulator fragments of the scores are the A fragments of P·V.
  SALE_DEVICE void pack(const f32 (&scores)[4 * key_tiles]) {
#pragma unroll
    for (int k = 0; k < key_tiles / 2; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        p_[k][i] = Element::pack(scores[8 * k + 2 * i], scores[8 * k + 2 * i + 1]);
      }
    }
  }

  // Straight from registers, so that the place of Q belongs to the next item already: four lanes trade the words of
  // four tiles of columns, so that each stores 16 bytes.
  SALE_DEVICE void store() const {
    const AttendItem<Config> item(args_, number_);
    const u32 quad_lane = lane_index() % 4;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      f32 sum = sum_[r];
      sum += shuffle_xor(sum, 1);
      sum += shuffle_xor(sum, 2);
      const f32 inverse = sum > 0.0F ? rcp_approx(sum) : (sum == 0.0F ? 0.0F : sum);
      const s32 token = item.first_row + static_cast<s32>(consumer_) * 64 + row() + r * 8;
      if (args_.lse != nullptr && quad_lane == 0 && token < args_.q_len) {
        args_.lse[(static_cast<s64>(item.batch) * args_.num_q_heads + item.head) * args_.q_len + token] =
            sum == 0.0F ? -infinity() : (base_of(max_[r]) + log2_approx(sum)) * ln_of_2();
      }
      u8 *out =
          static_cast<u8 *>(args_.out.data) + 2 * (item.batch * args_.out.stride_batch +
                                                   item.head * args_.out.stride_head + token * args_.out.stride_token);
#pragma unroll
      for (int n = 0; n < out_tiles; n += 4) {
        Vec16 words;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          words.word[i] = Element::pack(out_[4 * (n + i) + 2 * r] * inverse, out_[4 * (n + i) + 2 * r + 1] * inverse);
        }
        transpose(words, quad_lane);
        if (token < args_.q_len) {
          store_global_16(out + 16 * (n + quad_lane), words);
        }
      }
    }
  }

  // Word i of lane j of a quad becomes word j of lane i.
  static SALE_DEVICE void transpose(Vec16 &words, u32 quad_lane) {
    u32(&w)[4] = words.word;
    const bool odd = (quad_lane & 1U) != 0;
    const u32 a = shuffle_xor(odd ? w[0] : w[1], 1);
    const u32 b = shuffle_xor(odd ? w[2] : w[3], 1);
    (odd ? w[0] : w[1]) = a;
    (odd ? w[2] : w[3]) = b;
    const bool high = (quad_lane & 2U) != 0;
    const u32 c = shuffle_xor(high ? w[0] : w[2], 2);
    const u32 d = shuffle_xor(high ? w[1] : w[3], 2);
    (high ? w[0] : w[2]) = c;
    (high ? w[1] : w[3]) = d;
  }

  const AttendWgmmaArgs &args_;
  const AttendShared<Config> shared_;
  u32 consumer_;
  f32 scale_log2_;
  s32 number_ = -1; // the item; negative before the first
  s32 position_;    // key position of row()
  RingPlace q_place_;
  bool pending_ = false; // p_ has not met its values yet
  RingPlace values_;     // where those lie
  int foreign_ = 0;      // tiles of others since
  Queries queries_;
  f32 max_[2]; // what the exponentials are relative to: at most max_growth below the maximum
  f32 sum_[2]; // this lane's share
  f32 out_[4 * out_tiles];
  u32 p_[key_tiles / 2][4];
};
