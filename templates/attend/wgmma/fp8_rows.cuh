// SPDX-License-Identifier: Apache-2.0
// The 64 query rows of a consumer of attend in e4m3 (docs/numerics.md, section 14), held as in consumer_rows.cuh.
//
// With y the scores in log2 units, xv the scale of a block's values and M a base near the maximum of y - xv, the
// products of P = 2^(y - xv - M) and the codes of V all have the scale 2^-M: blocks need no scales of their own. Only
// the sum of P is weighted by 2^xv. Tiles are tried with the base as it is; where codes of P could saturate, it moves.
//
// Tensor cores keep only about 14 bits of what they accumulate, so P·V is taken up in fp32 every few tiles.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "attend/wgmma/attend_item.cuh"
#include "attend/wgmma/attend_shared.cuh"
#include "attend/wgmma/block_filter.cuh"
#include "attend/wgmma/fp8_queries.cuh"
#include "attend/wgmma/output_rows.cuh"
#include "attend/wgmma/tickets.cuh"
#include "device/element.cuh"
#include "device/math.cuh"
#include "device/matrix_descriptor.cuh"
#include "device/memory.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"
#include "device/wgmma.cuh"

template <class Config>
class Fp8Rows {
  using Element = typename Config::Element;
  using Layout = AttendLayout<Config>;
  static constexpr int parts = Config::head_dim <= 128 ? 1 : 4; // of the output, one at a time
  static constexpr int columns = Config::head_dim / parts;
  using ValuesMma = Wgmma<E4m3, f32, columns, WgmmaSource::registers, WgmmaMajor::k, WgmmaDensity::dense>;
  static constexpr int blocks = Config::keys_per_step / 32;
  static constexpr int score_count = Config::keys_per_step / 2;
  static constexpr int key_tiles = Config::keys_per_step / 8;
  // Whether P·V stays in its accumulators from tile to tile and runs beside the next tile's softmax.
  static constexpr bool overlaps = parts == 1;
  static constexpr int tiles_taken_up = 512 / Config::keys_per_step; // at once
  // Codes of P are P·2^8. They end at 448: more must not be the sum of any eight.
  static constexpr f32 code_shift = 8.0F;
  static constexpr f32 sum_limit = 448.0F;

public:
  SALE_DEVICE Fp8Rows(const AttendWgmmaArgs &args, u32 consumer)
      : args_(args), consumer_(consumer), queries_(consumer) {}

  // Ends the item before.
  SALE_DEVICE void begin(s32 number) {
    const AttendItem<Config> item(args_, number);
    number_ = number;
    shared_.q.wait_full(q_place_);
    take_queries(item, shared_.q.data(q_place_) + consumer_ * Layout::q_block_bytes);
    shared_.q.release(q_place_);
    q_place_.template advance<1>();
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      base_[r] = -infinity();
      sum_[r] = 0.0F;
    }
#pragma unroll
    for (int i = 0; i < Config::head_dim / 2; ++i) {
      out_[i] = 0.0F;
    }
  }

  // A tile of these rows; frees the ticket.
  SALE_DEVICE void step(Ticket ticket, TicketRing<Config> &tickets) {
    if constexpr (!overlaps) {
      drain();
      pending_ = step<false>(ticket, tickets);
    } else if (pending_) {
      pending_ = step<true>(ticket, tickets);
    } else {
      pending_ = step<false>(ticket, tickets);
    }
    last_ = ticket;
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
    drain();
    if (tiles_ != 0) {
      take_up();
    }
    store();
    number_ = -1;
  }

private:
  // Within the 64.
  static SALE_DEVICE s32 row() { return static_cast<s32>(thread_index() % 128 / 32 * 16 + lane_index() / 4); }
  // Of the first row. Not kept: registers are short.
  SALE_DEVICE s32 first_position() const {
    return AttendItem<Config>(args_, number_).position + static_cast<s32>(consumer_) * 64;
  }
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
    if constexpr (Config::filtered) {
      filter_.begin(args_, item, static_cast<s32>(consumer_) * 64 + row());
    }
    if (Config::filtered || args_.lse != nullptr) {
      // What the codes of K lack waits in lse until the sum is known.
      const s64 kv_head = static_cast<s64>(item.batch) * (args_.num_q_heads / Config::gqa) + item.kv_head;
      f32 along_mean[2];
      tile.dots(along_mean, args_.kbar + kv_head * Config::head_dim);
      if constexpr (Config::filtered) {
        filter_.change(along_mean, power);
      }
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        if (float *const place = lse(item, r)) {
          store_global_f32(place, args_.softmax_scale * along_mean[r]);
        }
      }
    }
    queries_.take(q_block, power);
  }

  // With P·V of the tile before, if that is still to come. Returns whether P·V of this one is to come.
  template <bool with_values>
  SALE_DEVICE bool step(Ticket ticket, TicketRing<Config> &tickets) {
    const RingPlace place = ticket.place();
    f32 scores[score_count];
    shared_.k.wait_full(place);
    multiply_keys(scores, place);
    if constexpr (with_values) {
      shared_.v.wait_full(last_.values_place());
      multiply_values(0);
    }
    wgmma_wait<with_values ? 1 : 0>();
    wgmma_results(scores);
    u32 dropped = 0;
    bool any_left = true;
    if constexpr (Config::filtered) {
      const u32 scales = shared_.scales(place);
      const auto granules =
          filter_.apply(scores, args_, tickets, consumer_, first_position(), shared_.exchange(consumer_, place),
                        [=](int g) { return load_shared_f32(scales + g * 16); });
      dropped = granules.dropped;
      any_left = dropped != granules.kept;
    }
    if (ticket.is_masked(consumer_) || dropped != 0) {
      mask(scores, tickets, dropped);
    }
    f32 sums[2];
    f32 largest[2]; // sum of eight
    const Fit fit = soften(scores, sums, largest, shared_.scales(place));
    if constexpr (with_values) {
      wgmma_wait<0>();
      wgmma_results(part_);
      shared_.v.release(last_.values_place());
      tiles_ += 1;
      if (tiles_ == tiles_taken_up) {
        take_up();
      }
    }
    if (fit != Fit::well) {
      fit_again(scores, sums, largest, fit, ticket, tickets, dropped);
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      sum_[r] += sums[r];
    }
    shared_.k.release(place);
    tickets.release();
    if (!any_left) {
      shared_.v.wait_full(ticket.values_place());
      shared_.v.release(ticket.values_place());
      return false;
    }
    pack(scores);
    return true;
  }

  // The product with the values of the last tile, if it is still to come.
  SALE_DEVICE void drain() {
    if (pending_) {
      shared_.v.wait_full(last_.values_place());
#pragma unroll
      for (int p = 0; p < parts; ++p) {
        multiply_values(p);
        wgmma_wait<0>();
        wgmma_results(part_);
        if constexpr (!overlaps) {
          add(p);
        }
      }
      shared_.v.release(last_.values_place());
      tiles_ += overlaps ? 1 : 0;
      pending_ = false;
    }
  }

  SALE_DEVICE void take_up() {
    add(0);
    tiles_ = 0;
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

  // Columns `columns`·p.. of P·V.
  SALE_DEVICE void multiply_values(int p) {
    const u64 values = matrix_descriptor(shared_.v.data(last_.values_place()), 16, 256, MatrixSwizzle::bytes_32);
    wgmma_fence();
#pragma unroll
    for (int b = 0; b < blocks; ++b) {
      ValuesMma::run(part_, codes_[b], values + static_cast<u64>((b * Config::head_dim + p * columns) * 32 / 16),
                     b != 0 || (overlaps && tiles_ != 0));
    }
    wgmma_commit();
  }

  // P·V of columns `columns`·p..
  SALE_DEVICE void add(int p) {
#pragma unroll
    for (int i = 0; i < columns / 2; ++i) {
      out_[p * (columns / 2) + i] += part_[i];
    }
  }

  // Scores of keys that a row does not see or that these rows do not keep become -inf.
  SALE_DEVICE void mask(f32 (&scores)[score_count], const TicketRing<Config> &tickets, u32 dropped) const {
    constexpr int granule_scores = Granule<Config>::keys / 2;
    constexpr s32 never = 0x7fff0000;
    const s32 position = first_position() + row();
#pragma unroll
    for (int g = 0; g < Granule<Config>::per_tile; ++g) {
      const u32 entry = tickets.entry(g);
      const bool kept = (Granule<Config>::keep(entry) >> consumer_ & ~dropped >> g & 1U) != 0;
      // How far the lane's first column of the granule lies past the lane's first row.
      const s32 column = Granule<Config>::first_key(entry) + static_cast<s32>(lane_index() % 4 * 2);
      const s32 ahead = kept ? column - position : never;
#pragma unroll
      for (int i = 0; i < granule_scores; ++i) {
        if (ahead + i / 4 * 8 + i % 2 > i % 4 / 2 * 8) {
          scores[g * granule_scores + i] = -infinity();
        }
      }
    }
  }

  enum class Fit { well, large, infinite, no_base };

  // Scores become probabilities times 2^8, unless some row has no base.
  SALE_DEVICE Fit soften(f32 (&scores)[score_count], f32 (&sums)[2], f32 (&largest)[2], u32 scales) const {
    if (warp_any(base_[0] == -infinity() || base_[1] == -infinity())) {
      return Fit::no_base;
    }
    exponentiate(scores, sums, largest, scales);
    // A branch that needs the exponentials also keeps ptxas from waiting for the values before them.
    if (!warp_any(largest[0] > sum_limit || largest[1] > sum_limit)) {
      return Fit::well;
    }
    return warp_any(largest[0] == infinity() || largest[1] == infinity()) ? Fit::infinite : Fit::large;
  }

  SALE_DEVICE void fit_again(f32 (&scores)[score_count], f32 (&sums)[2], f32 (&largest)[2], Fit fit, Ticket ticket,
                             const TicketRing<Config> &tickets, u32 dropped) {
    if (fit == Fit::infinite) {
      multiply_keys_again(scores, ticket.place());
      if (ticket.is_masked(consumer_) || dropped != 0) {
        mask(scores, tickets, dropped);
      }
    }
    if (fit != Fit::large) {
      raise_base(scores, shared_.scales(ticket.place()));
      exponentiate(scores, sums, largest, shared_.scales(ticket.place()));
    }
    move_base(scores, sums, largest);
  }

  // Rows that have seen no key have no base.
  static SALE_DEVICE f32 finite(f32 base) { return base == -infinity() ? 0.0F : base; }

  SALE_DEVICE void exponentiate(f32 (&scores)[score_count], f32 (&sums)[2], f32 (&largest)[2], u32 scales) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const f32 top = code_shift - finite(base_[r]);
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
          even = n == 0 ? score[0] : even + score[0];
          odd = n == 0 ? score[1] : odd + score[1];
        }
        const f32 sum = even + odd;
        largest[r] = b == 0 ? sum : max_f32(largest[r], sum);
        sums[r] = b == 0 ? sum * bits_float(scale.word[2]) : fma_rn(sum, bits_float(scale.word[2]), sums[r]);
      }
    }
  }

  // To the maximum, if that is higher.
  SALE_DEVICE void raise_base(const f32 (&scores)[score_count], u32 scales) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      f32 highest = base_[r];
#pragma unroll
      for (int b = 0; b < blocks; ++b) {
        const Vec16 scale = load_shared_16(scales + b * 16);
        f32 of_block = -infinity();
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          const f32 *const score = scores + b * 16 + n * 4 + 2 * r;
          of_block = max_f32(of_block, max_f32(score[0], score[1]));
        }
        const f32 unit = mul_rn(scale_log2_[r], bits_float(scale.word[0]));
        highest = max_f32(highest, fma_rn(of_block, unit, bits_float(scale.word[1])));
      }
      highest = max_f32(highest, shuffle_xor(highest, 1));
      highest = max_f32(highest, shuffle_xor(highest, 2));
      scale_output(r, exp2_approx(sub_rn(base_[r], finite(highest))));
      base_[r] = highest;
    }
  }

  // By whole powers of two, so that no eight probabilities of a lane have a sum beyond the limit.
  SALE_DEVICE void move_base(f32 (&scores)[score_count], f32 (&sums)[2], f32 (&largest)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      f32 most = max_f32(largest[r], shuffle_xor(largest[r], 1));
      most = max_f32(most, shuffle_xor(most, 2));
      // The sum's exponent becomes 6: some way to the limit.
      const s32 up = most > sum_limit ? static_cast<s32>(float_bits(most) >> 23) - (127 + 6) : 0;
      const f32 power = FloatScale::power(-up);
      base_[r] += static_cast<f32>(up);
      scale_output(r, power);
      sums[r] *= power;
#pragma unroll
      for (int i = 2 * r; i < score_count; i += 4) {
        scores[i] *= power;
        scores[i + 1] *= power;
      }
    }
  }

  SALE_DEVICE void scale_output(int r, f32 factor) {
    sum_[r] *= factor;
#pragma unroll
    for (int i = 2 * r; i < Config::head_dim / 2; i += 4) {
      out_[i] *= factor;
      out_[i + 1] *= factor;
    }
    if (overlaps && tiles_ != 0) {
#pragma unroll
      for (int i = 2 * r; i < columns / 2; i += 4) {
        part_[i] *= factor;
        part_[i + 1] *= factor;
      }
    }
  }

  // By this warp alone: few tiles need their scores twice, and not those of all four warps at once.
  SALE_DEVICE void multiply_keys_again(f32 (&scores)[score_count], const RingPlace &place) const {
    constexpr int chunks = Layout::panel_row_bytes / 16;
    const u32 row = lane_index() / 16 * 8 + lane_index() % 8;
    const u32 turn = row / (8 / chunks) % chunks;
    const u32 keys = shared_.k.data(place) + row * Layout::panel_row_bytes;
#pragma unroll
    for (int i = 0; i < score_count; ++i) {
      scores[i] = 0.0F;
    }
#pragma unroll 1
    for (int k = 0; k < Config::head_dim / 32; ++k) {
      u32 a[4];
      queries_.fragment(a, k);
      const u32 chunk = k * 2 % chunks + lane_index() / 8 % 2;
      const u32 at = keys + k * 2 / chunks * Layout::panel_bytes + ((chunk ^ turn) << 4);
#pragma unroll
      for (int n = 0; n < key_tiles; n += 2) {
        u32 b[4];
        ldmatrix_x4(b, at + n * 8 * Layout::panel_row_bytes);
        multiply_tile(scores + 4 * n, a, b[0], b[1]);
        multiply_tile(scores + 4 * n + 4, a, b[2], b[3]);
      }
    }
  }

  static SALE_DEVICE void multiply_tile(f32 *scores, const u32 (&a)[4], u32 b0, u32 b1) {
    f32 d[4] = {scores[0], scores[1], scores[2], scores[3]};
    mma(E4m3{}, d, a, b0, b1);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      scores[i] = d[i];
    }
  }

  // values.cuh says why this is the A fragment of P·V.
  SALE_DEVICE void pack(const f32 (&scores)[score_count]) {
#pragma unroll
    for (int i = 0; i < blocks * 4; ++i) {
      const f32 *const score = scores + i / 2 * 8 + 2 * (i % 2);
      codes_[i / 4][i % 4] = E4m3::pack(score[0], score[1], score[4], score[5]);
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
                                            : fma_rn(base_[r] - code_shift + log2_approx(sum), ln_of_2(), along_mean));
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
  RingPlace q_place_;
  BlockFilter<Config> filter_;
  QueryCodes<Config> queries_;
  Ticket last_{0};       // the last tile's
  bool pending_ = false; // its codes_ have not met them yet
  int foreign_ = 0;      // tiles of others since
  int tiles_ = 0;        // that part_ has, beside out_
  f32 scale_log2_[2];    // of products of codes of Q and values of K
  f32 base_[2];          // M
  f32 sum_[2];           // this lane's share, times 2^8
  f32 out_[Config::head_dim / 2];
  f32 part_[columns / 2];
  u32 codes_[blocks][4];
};
