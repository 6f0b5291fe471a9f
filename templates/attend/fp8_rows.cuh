// SPDX-License-Identifier: Apache-2.0
// The 64 query rows of a consumer of attend in e4m3 (docs/numerics.md, section 14), held as in consumer_rows.cuh.
//
// With y the scores in log2 units, M their running maximum less xv of their block, and P = 2^(y - xv - M) <= 1, the
// products of P and the codes of V all have the scale 2^-M: blocks need no scales of their own. Only the sum of P is
// weighted by 2^xv.
//
// P·V of a tile starts from zero, 64 columns at a time, and is added to the output in fp32: the tensor cores keep only
// about 14 bits of what they accumulate. That addition also rescales the output, for free.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "attend/attend_item.cuh"
#include "attend/attend_shared.cuh"
#include "attend/fp8_queries.cuh"
#include "attend/output_rows.cuh"
#include "attend/tickets.cuh"
#include "device/element.cuh"
#include "device/math.cuh"
#include "device/matrix_descriptor.cuh"
#include "device/memory.cuh"
#include "device/named_barrier.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"
#include "device/wgmma.cuh"

template <class Config>
class Fp8Rows {
  using Element = typename Config::Element;
  using Layout = AttendLayout<Config>;
  using Queries = typename QueryCodesOf<Config, (Config::head_dim <= 128)>::Type;
  static constexpr int parts = Config::head_dim / 64; // of the output, one at a time
  static constexpr int columns = Config::head_dim / parts;
  using ValuesMma = Wgmma<E4m3, f32, columns, WgmmaSource::registers, WgmmaMajor::k, WgmmaDensity::dense>;
  static constexpr int blocks = Config::keys_per_step / 32;
  static constexpr int score_count = Config::keys_per_step / 2;
  // Whether P·V of a tile runs beside Q·K and softmax of the next: wide rows leave no registers for both.
  static constexpr bool overlaps = Config::head_dim <= 128;
  // Codes of P are P·2^8: up to 256, and down to 2^-9.
  static constexpr f32 code_shift = 8.0F;

public:
  SALE_DEVICE Fp8Rows(const AttendWgmmaArgs &args, u32 consumer) : args_(args), consumer_(consumer) {
    if (takes_turns && consumer_ == 1) {
      pass_turn(); // consumer 0 begins
    }
  }

  // Ends the item before.
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
    for (int i = 0; i < Config::head_dim / 2; ++i) {
      out_[i] = 0.0F;
    }
    shared_.q.wait_full(q_place_);
    take_queries(item, shared_.q.data(q_place_) + consumer_ * Layout::q_block_bytes);
    if constexpr (Queries::leave_early) {
      leave_queries();
    }
  }

  // A tile of these rows; frees the ticket.
  SALE_DEVICE void step(Ticket ticket, TicketRing<Config> &tickets) {
    if constexpr (!overlaps) {
      drain();
    }
    if (overlaps && pending_) {
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
  SALE_DEVICE void finish(bool /*now*/) {
    if (number_ < 0) {
      return;
    }
    if constexpr (!Queries::leave_early) {
      leave_queries();
    }
    drain();
    store();
    number_ = -1;
  }

private:
  // On tiles that both keep consumers take turns, so that one multiplies while the other computes exponentials.
  static constexpr bool takes_turns = Config::consumers == 2;
  static SALE_DEVICE bool is_shared(Ticket ticket) { return takes_turns && ticket.users() == 3; }
  SALE_DEVICE void take_turn() const { barrier_sync(1 + consumer_, 256); }
  SALE_DEVICE void pass_turn() const { barrier_arrive(2 - consumer_, 256); }

  // Within the 64.
  static SALE_DEVICE s32 row() { return static_cast<s32>(thread_index() % 128 / 32 * 16 + lane_index() / 4); }
  SALE_DEVICE s32 token(const AttendItem<Config> &item, int r) const {
    return item.first_row + static_cast<s32>(consumer_) * 64 + row() + r * 8;
  }
  // Of the lane that stores a row's lse, if it is wanted.
  SALE_DEVICE float *lse(const AttendItem<Config> &item, int r) const {
    const bool mine = args_.lse != nullptr && lane_index() % 4 == 0 && token(item, r) < args_.q_len;
    const s64 head = static_cast<s64>(item.batch) * args_.num_q_heads + item.head;
    return mine ? args_.lse + head * args_.q_len + token(item, r) : nullptr;
  }

  SALE_DEVICE void take_queries(const AttendItem<Config> &item, u32 q_block) {
    const QueryTile<Config> tile(q_block);
    f32 power[2];
    tile.norms(power);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const s32 exponent = FloatScale::of_query(power[r]);
      power[r] = FloatScale::power(exponent);
      scale_log2_[r] = args_.softmax_scale * log2_of_e() * FloatScale::power(-exponent);
    }
    if (args_.lse != nullptr) {
      // What the codes of K lack waits in lse until the sum is known.
      const s64 kv_head = static_cast<s64>(item.batch) * (args_.num_q_heads / Config::gqa) + item.kv_head;
      f32 along_mean[2];
      tile.dots(along_mean, args_.kbar + kv_head * Config::head_dim);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        if (float *const place = lse(item, r)) {
          store_global_f32(place, args_.softmax_scale * along_mean[r]);
        }
      }
    }
    queries_.take(q_block, consumer_, power);
  }

  SALE_DEVICE void leave_queries() {
    shared_.q.release(q_place_);
    q_place_.template advance<1>();
  }

  // With P·V of the tile before, if that is still to come: its first columns beside the maximum, its last beside the
  // exponentials.
  template <bool with_values>
  SALE_DEVICE void step(Ticket ticket, TicketRing<Config> &tickets) {
    const RingPlace place = ticket.place();
    f32 scores[score_count];
    f32 part[columns / 2];
    shared_.k.wait_full(place);
    if (is_shared(ticket)) {
      take_turn();
    }
    multiply_keys(scores, place);
    if constexpr (with_values) {
      shared_.v.wait_full(values_);
      multiply_values(part, 0);
    }
    if (is_shared(ticket)) {
      pass_turn();
    }
    wgmma_wait<with_values ? 1 : 0>();
    wgmma_results(scores);
    if (ticket.is_masked(consumer_)) {
      mask(scores, tickets);
    }
    tickets.release();
    f32 alpha[2];
    raise_maximum(scores, alpha, shared_.scales(place));
    if constexpr (with_values) {
#pragma unroll
      for (int p = 1; p < parts; ++p) {
        wgmma_wait<0>();
        add(part, p - 1);
        multiply_values(part, p);
      }
    }
    soften(scores, alpha, shared_.scales(place));
    shared_.k.release(place);
    if constexpr (with_values) {
      wgmma_wait<0>();
      add(part, parts - 1);
      shared_.v.release(values_);
    }
    pack(scores);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      alpha_[r] = alpha[r];
    }
  }

  // The product with the values of the last tile, if it is still to come.
  SALE_DEVICE void drain() {
    if (pending_) {
      f32 part[columns / 2];
      shared_.v.wait_full(values_);
#pragma unroll
      for (int p = 0; p < parts; ++p) {
        multiply_values(part, p);
        wgmma_wait<0>();
        add(part, p);
      }
      shared_.v.release(values_);
      pending_ = false;
    }
  }

  SALE_DEVICE void multiply_keys(f32 (&scores)[score_count], const RingPlace &place) {
    constexpr MatrixSwizzle swizzle =
        Layout::panel_row_bytes == 128 ? MatrixSwizzle::bytes_128 : MatrixSwizzle::bytes_64;
    const u64 keys = matrix_descriptor(shared_.k.data(place), 16, 8 * Layout::panel_row_bytes, swizzle);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < Config::head_dim / 32; ++k) {
      const int offset = k * 32 / Layout::panel_row_bytes * Layout::panel_bytes + k * 32 % Layout::panel_row_bytes;
      queries_.multiply(scores, k, keys + static_cast<u64>(offset / 16));
    }
    wgmma_commit();
  }

  // Columns 64·p.. of P·V.
  SALE_DEVICE void multiply_values(f32 (&part)[columns / 2], int p) {
    const u64 values = matrix_descriptor(shared_.v.data(values_) + static_cast<u32>(p * columns * 32), 16, 256,
                                         MatrixSwizzle::bytes_32);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < blocks; ++k) {
      ValuesMma::run(part, p_[k], values + static_cast<u64>(k * Config::head_dim * 32 / 16), k != 0);
    }
    wgmma_commit();
  }

  SALE_DEVICE void add(f32 (&part)[columns / 2], int p) {
    wgmma_results(part);
#pragma unroll
    for (int i = 0; i < columns / 2; ++i) {
      f32 &out = out_[p * (columns / 2) + i];
      out = fma_rn(out, alpha_[i % 4 / 2], part[i]);
    }
  }

  // Scores of keys that a row does not see or that these rows do not keep become -inf.
  SALE_DEVICE void mask(f32 (&scores)[score_count], const TicketRing<Config> &tickets) const {
    constexpr int granule_scores = Granule<Config>::keys / 2;
    constexpr s32 never = 0x7fff0000;
#pragma unroll
    for (int g = 0; g < Granule<Config>::per_tile; ++g) {
      const u32 entry = tickets.entry(g);
      const bool kept = (Granule<Config>::keep(entry) >> consumer_ & 1U) != 0;
      // How far the lane's first column of the granule lies past the lane's first row.
      const s32 column = Granule<Config>::first_key(entry) + static_cast<s32>(lane_index() % 4 * 2);
      const s32 ahead = kept ? column - position_ : never;
#pragma unroll
      for (int i = 0; i < granule_scores; ++i) {
        if (ahead + i / 4 * 8 + i % 2 > i % 4 / 2 * 8) {
          scores[g * granule_scores + i] = -infinity();
        }
      }
    }
  }

  static SALE_DEVICE f32 base_of(f32 highest) { return highest == -infinity() ? 0.0F : highest; }

  // max_ takes in the tile's; what was relative to the old one is worth alpha.
  SALE_DEVICE void raise_maximum(const f32 (&scores)[score_count], f32 (&alpha)[2], u32 scales) {
    f32 highest[2] = {max_[0], max_[1]};
#pragma unroll
    for (int b = 0; b < blocks; ++b) {
      const Vec16 scale = load_shared_16(scales + b * 16);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const f32 *const score = scores + b * 16 + 2 * r;
        const f32 even = max_f32(max_f32(score[0], score[4]), max_f32(score[8], score[12]));
        const f32 odd = max_f32(max_f32(score[1], score[5]), max_f32(score[9], score[13]));
        const f32 unit = mul_rn(scale_log2_[r], bits_float(scale.word[0]));
        highest[r] = max_f32(highest[r], fma_rn(max_f32(even, odd), unit, bits_float(scale.word[1])));
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      highest[r] = max_f32(highest[r], shuffle_xor(highest[r], 1));
      highest[r] = max_f32(highest[r], shuffle_xor(highest[r], 2));
      alpha[r] = exp2_approx(sub_rn(max_[r], base_of(highest[r])));
      max_[r] = highest[r];
    }
  }

  // Scores become probabilities times 2^8.
  SALE_DEVICE void soften(f32 (&scores)[score_count], const f32 (&alpha)[2], u32 scales) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const f32 top = code_shift - base_of(max_[r]);
      sum_[r] *= alpha[r];
#pragma unroll
      for (int b = 0; b < blocks; ++b) {
        const Vec16 scale = load_shared_16(scales + b * 16);
        const f32 unit = mul_rn(scale_log2_[r], bits_float(scale.word[0]));
        const f32 offset = add_rn(bits_float(scale.word[1]), top);
        f32 even = 0.0F;
        f32 odd = 0.0F;
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          f32 *const score = scores + b * 16 + n * 4 + 2 * r;
          score[0] = exp2_approx(fma_rn(score[0], unit, offset));
          score[1] = exp2_approx(fma_rn(score[1], unit, offset));
          even += score[0];
          odd += score[1];
        }
        sum_[r] = fma_rn(even + odd, bits_float(scale.word[2]), sum_[r]);
      }
    }
  }

  // values.cuh says why this is the A fragment of P·V.
  SALE_DEVICE void pack(const f32 (&scores)[score_count]) {
#pragma unroll
    for (int i = 0; i < blocks * 4; ++i) {
      const f32 *const score = scores + i / 2 * 8 + 2 * (i % 2);
      p_[i / 4][i % 4] = E4m3::pack(score[0], score[1], score[4], score[5]);
    }
  }

  SALE_DEVICE void store() const {
    const AttendItem<Config> item(args_, number_);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      f32 sum = sum_[r];
      sum += shuffle_xor(sum, 1);
      sum += shuffle_xor(sum, 2);
      if (float *const place = lse(item, r)) {
        const f32 along_mean = load_global_f32(place);
        store_global_f32(place, sum == 0.0F ? -infinity()
                                            : fma_rn(max_[r] - code_shift + log2_approx(sum), ln_of_2(), along_mean));
      }
      u8 *const out = static_cast<u8 *>(args_.out.data) +
                      2 * (item.batch * args_.out.stride_batch + item.head * args_.out.stride_head +
                           token(item, r) * args_.out.stride_token);
      store_output_row<Element>(out, out_, r, sum > 0.0F ? rcp_approx(sum) : sum, token(item, r) < args_.q_len);
    }
  }

  const AttendWgmmaArgs &args_;
  const AttendShared<Config> shared_;
  u32 consumer_;
  s32 number_ = -1; // the item; negative for none
  s32 position_;    // key position of row()
  RingPlace q_place_;
  bool pending_ = false; // p_ has not met its values yet
  RingPlace values_;     // where those lie
  int foreign_ = 0;      // tiles of others since
  Queries queries_;
  f32 scale_log2_[2]; // of products of codes of Q and values of K
  f32 max_[2];        // M
  f32 alpha_[2];      // what out_ is worth beside P·V of p_
  f32 sum_[2];        // this lane's share, times 2^8
  f32 out_[Config::head_dim / 2];
  u32 p_[blocks][4];
};
