// SPDX-License-Identifier: Apache-2.0
// The 64 query rows of a consumer of attend in e4m3 (docs/numerics.md, section 14), held as in consumer_rows.cuh but
// for the scores, pairs of f16. The sums of P are products too: with the ones beside V.
//
// Tensor cores keep only about 14 bits of what they accumulate, so P·V is taken up in fp32 every few tiles.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "attend/wgmma/attend_item.cuh"
#include "attend/wgmma/attend_shared.cuh"
#include "attend/wgmma/block_filter.cuh"
#include "attend/wgmma/fp8_probabilities.cuh"
#include "attend/wgmma/fp8_queries.cuh"
#include "attend/wgmma/output_rows.cuh"
#include "attend/wgmma/tickets.cuh"
#include "common/amax_scale.cuh"
#include "common/seen_keys.cuh"
#include "device/element.cuh"
#include "device/half2.cuh"
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
  using Queries = typename QueryCodesOf<Config, (Config::head_dim <= 128)>::Type;
  using Scores = typename Probabilities<Config>::Scores;
  using Fit = typename Probabilities<Config>::Fit;
  static constexpr int parts = Config::head_dim <= 128 ? 1 : 4; // of the output, one at a time
  static constexpr int columns = Config::head_dim / parts;
  // Eight columns more: after the last part come the sums of P, in all eight.
  using ValuesMma = Wgmma<E4m3, f32, columns + 8, WgmmaSource::registers, WgmmaMajor::k, WgmmaDensity::dense>;
  static constexpr int blocks = Config::keys_per_step / 32;
  // Whether P·V stays in its accumulators from tile to tile and runs beside the next tile's softmax.
  static constexpr bool overlaps = parts == 1;
  // Of ragged batches they lie far away, but beside wide rows registers are too short.
  static constexpr bool keeps_lengths = Config::ragged && Config::head_dim <= 128;
  static constexpr int tiles_taken_up = 512 / Config::keys_per_step; // at once

public:
  SALE_DEVICE Fp8Rows(const AttendWgmmaArgs &args, u32 consumer)
      : args_(args), consumer_(consumer), queries_(consumer) {}

  // Ends the item before.
  SALE_DEVICE void begin(s32 number) {
    const AttendItem<Config> item(args_, number);
    number_ = number;
    if constexpr (keeps_lengths) {
      position_ = item.position + static_cast<s32>(consumer_) * 64;
      kv_len_ = item.kv_len(args_);
      end_position_ = item.position - item.first_row + item.q_len(args_);
    }
    shared_.q.wait_full(q_place_);
    take_queries(item, shared_.q.data(q_place_) + consumer_ * Layout::q_block_bytes);
    shared_.q.release(q_place_);
    q_place_.template advance<1>();
#pragma unroll
    for (int r = 0; r < 2; ++r) {
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
  // Of the first row.
  SALE_DEVICE s32 first_position() const {
    if constexpr (keeps_lengths) {
      return position_;
    } else {
      return AttendItem<Config>(args_, number_).position + static_cast<s32>(consumer_) * 64;
    }
  }
  SALE_DEVICE s32 kv_len() const {
    if constexpr (keeps_lengths) {
      return kv_len_;
    } else if constexpr (Config::ragged) {
      return AttendItem<Config>(args_, number_).sequence.kv_len;
    } else {
      return args_.kv_len;
    }
  }
  // Ragged: one past the last row of the sequence. That of its last key, unless another is given.
  SALE_DEVICE s32 end_position() const {
    if constexpr (!Config::parts) {
      return kv_len();
    } else if constexpr (keeps_lengths) {
      return end_position_;
    } else {
      const AttendItem<Config> item(args_, number_);
      return item.sequence.position + item.sequence.q_len;
    }
  }
  SALE_DEVICE s32 token(const AttendItem<Config> &item, int r) const {
    return item.first_row + static_cast<s32>(consumer_) * 64 + row() + r * 8;
  }
  // Of the lane that stores a row's lse, if it is wanted.
  SALE_DEVICE float *lse(const AttendItem<Config> &item, int r) const {
    const bool mine = args_.lse != nullptr && lane_index() % 4 == 0 && token(item, r) < item.q_len(args_);
    const s64 first = item.lse_row(args_);
    return mine ? args_.lse + first + token(item, r) : nullptr;
  }
  // Numbers of the KV heads of a batch count on from sequence to sequence.
  SALE_DEVICE s64 kv_head_of(const AttendItem<Config> &item) const {
    return static_cast<s64>(item.batch) * (args_.num_q_heads / Config::gqa) + item.kv_head;
  }
  // First element of the head in kbar.
  SALE_DEVICE s64 kbar_element(const AttendItem<Config> &item, s64 kv_head) const {
    if constexpr (Config::ragged) {
      return static_cast<s64>(item.batch) * args_.ragged.kbar_stride + item.kv_head * Config::head_dim;
    } else {
      return kv_head * Config::head_dim;
    }
  }
  // Rows past the sequence's last count as zeros: what lies there in a batch of others has no part in the votes.
  SALE_DEVICE bool is_foreign(int r) const { return first_position() + row() + r * 8 >= end_position(); }

  SALE_DEVICE void take_queries(const AttendItem<Config> &item, u32 q_block) {
    const QueryTile<Config> tile(q_block);
    // Codes carry the mantissa of what makes a product a score: what remains is a power of two.
    const u32 scale = float_bits(args_.softmax_scale * log2_of_e() * 8.0F);
    const s32 scale_exponent = static_cast<s32>(scale >> 23) - 127;
    const f32 mantissa = bits_float((scale & 0x007fffffU) | 0x3f800000U);
    f32 power[2];
    f32 unit[2];
    tile.norms(power);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if constexpr (Config::ragged) {
        power[r] = is_foreign(r) ? 0.0F : power[r];
      }
      // The unit is an f16, if need be one of its smallest.
      const s32 exponent =
          imin(imax(FloatScale::of_query(power[r] * mantissa * mantissa), scale_exponent - 15), scale_exponent + 24);
      power[r] = FloatScale::power(exponent) * mantissa;
      unit[r] = FloatScale::power(scale_exponent - exponent);
    }
    probabilities_.begin(unit);
    if constexpr (Config::filtered) {
      filter_.begin(args_, item, static_cast<s32>(consumer_) * 64 + row());
    }
    if (Config::filtered || args_.lse != nullptr) {
      // What the codes of K lack waits in lse until the sum is known.
      const s64 kv_head = kv_head_of(item);
      f32 along_mean[2];
      tile.dots(along_mean, args_.kbar + kbar_element(item, kv_head));
      if constexpr (Config::ragged) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          along_mean[r] = is_foreign(r) ? 0.0F : along_mean[r];
        }
      }
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
    Scores scores;
    shared_.k.wait_full(place);
    multiply_keys(scores, place);
    if constexpr (with_values) {
      shared_.v.wait_full(last_.place());
      multiply_values(0);
    }
    wgmma_wait<with_values ? 1 : 0>();
    wgmma_results(scores);
    u32 dropped = 0;
    bool any_left = true;
    if constexpr (Config::ragged) {
      if (ticket.is_masked(consumer_)) {
        clear_foreign_rows(scores);
      }
    }
    if constexpr (Config::filtered) {
      const u32 scales = shared_.scales(place);
      const auto granules =
          filter_.apply(args_, tickets, consumer_, first_position(), shared_.exchange(consumer_, place),
                        [&](int g, int r) { return highest(scores, g, r) * F16::low(load_shared_4(scales + g * 16)); });
      dropped = granules.dropped;
      any_left = dropped != granules.kept;
    }
    if (ticket.is_masked(consumer_) || dropped != 0) {
      mask(scores, tickets, dropped);
    }
    const Fit fit = probabilities_.encode(scores, shared_.scales(place));
    if constexpr (with_values) {
      wgmma_wait<0>();
      wgmma_results(part_);
      shared_.v.release(last_.place());
      tiles_ += 1;
      if (tiles_ == tiles_taken_up) {
        take_up();
      }
    }
    if (fit != Fit::well) {
      fit_again(scores, fit, place);
    }
    shared_.k.release(place);
    tickets.release();
    if (!any_left) {
      shared_.v.wait_full(ticket.place());
      shared_.v.release(ticket.place());
      return false;
    }
    Probabilities<Config>::pack(codes_, scores);
    return true;
  }

  // The product with the values of the last tile, if it is still to come.
  SALE_DEVICE void drain() {
    if (pending_) {
      shared_.v.wait_full(last_.place());
#pragma unroll
      for (int p = 0; p < parts; ++p) {
        multiply_values(p);
        wgmma_wait<0>();
        wgmma_results(part_);
        if constexpr (!overlaps) {
          add(p);
        }
      }
      shared_.v.release(last_.place());
      tiles_ += overlaps ? 1 : 0;
      pending_ = false;
    }
  }

  SALE_DEVICE void take_up() {
    add(0);
    tiles_ = 0;
  }

  SALE_DEVICE void multiply_keys(Scores &scores, const RingPlace &place) {
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
    const u64 values = matrix_descriptor(shared_.v.data(last_.place()), 16, 256, MatrixSwizzle::bytes_32);
    wgmma_fence();
#pragma unroll
    for (int b = 0; b < blocks; ++b) {
      ValuesMma::run(part_, codes_[b],
                     values + static_cast<u64>((b * Layout::value_block_bytes + p * columns * 32) / 16),
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
    if (p == parts - 1) {
      sum_[0] += part_[columns / 2];
      sum_[1] += part_[columns / 2 + 2];
    }
  }

  SALE_DEVICE void clear_foreign_rows(Scores &scores) const {
    const bool foreign[2] = {is_foreign(0), is_foreign(1)};
#pragma unroll
    for (int i = 0; i < Probabilities<Config>::words; ++i) {
      scores[i] = foreign[i % 2] ? 0 : scores[i];
    }
  }

  // Scores of keys that a row does not see or that these rows do not keep become -inf.
  SALE_DEVICE void mask(Scores &scores, const TicketRing<Config> &tickets, u32 dropped) const {
    constexpr int granule_words = Granule<Config>::keys / 4;
    constexpr s32 never = 0x7fff0000;
    const s32 lane_row = Config::parts ? static_cast<s32>(lane_index() / 4) : 0; // whose limits are the warp's
    const SeenKeys<Config, 64> seen(first_position() + row() - lane_row, kv_len(), args_.sliding_window);
#pragma unroll
    for (int g = 0; g < Granule<Config>::per_tile; ++g) {
      const u32 entry = tickets.entry(g);
      const bool kept = (Granule<Config>::keep(entry) >> consumer_ & ~dropped >> g & 1U) != 0;
      const s32 column = Granule<Config>::first_key(entry) + static_cast<s32>(lane_index() % 4 * 2);
      const s32 ahead = kept ? seen.ahead(column) - seen.further(lane_row) : never;
#pragma unroll
      for (int i = 0; i < granule_words; ++i) {
        u32 &pair = scores[g * granule_words + i];
        if (seen.hides(ahead, 0, i / 2, i % 2 * 2)) {
          pair = (pair & 0xffff0000U) | 0xfc00U;
        }
        if (seen.hides(ahead, 0, i / 2, i % 2 * 2 + 1)) {
          pair = (pair & 0x0000ffffU) | 0xfc000000U;
        }
      }
    }
  }

  // Of row half r in granule g.
  static SALE_DEVICE f32 highest(const Scores &scores, int g, int r) {
    const u32 *const row = scores + g * (Granule<Config>::keys / 4) + r;
    const u32 pair = max_half2(max_half2(max_half2(row[0], row[2]), row[4]), row[6]);
    return max_f32(F16::low(pair), F16::high(pair));
  }

  SALE_DEVICE void fit_again(Scores &scores, Fit fit, const RingPlace &place) {
    f32 factor[2];
    if (fit == Fit::large) {
      probabilities_.lower(scores, factor);
    } else {
      probabilities_.raise_base(scores, shared_.scales(place), factor);
      probabilities_.force_encode(scores, shared_.scales(place));
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      scale_output(r, factor[r]);
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
      for (int i = 2 * r; i < columns / 2 + 4; i += 4) {
        part_[i] *= factor;
        part_[i + 1] *= factor;
      }
    }
  }

  SALE_DEVICE void store() const {
    const AttendItem<Config> item(args_, number_);
    const s64 kv_head = kv_head_of(item);
    const f32 value_unit = AmaxScale::power(-AmaxScale::exponent(bits_float(load_global_4(args_.v_amax + kv_head))));
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const f32 sum = sum_[r];
      if (float *const place = lse(item, r)) {
        const f32 along_mean = load_global_f32(place);
        store_global_f32(place, sum == 0.0F
                                    ? -infinity()
                                    : fma_rn(log2_approx(sum) + probabilities_.log2_unit(r), ln_of_2(), along_mean));
      }
      const s64 first = item.out_element(args_);
      u8 *const out = static_cast<u8 *>(args_.out.data) + 2 * (first + token(item, r) * args_.out.stride_token);
      store_output_row<Element>(out, out_, r, sum > 0.0F ? rcp_approx(sum) * value_unit : sum,
                                token(item, r) < item.q_len(args_));
    }
  }

  const AttendWgmmaArgs &args_;
  const AttendShared<Config> shared_;
  u32 consumer_;
  s32 number_ = -1;  // the item; negative for none
  s32 position_;     // keeps_lengths: of the first row
  s32 kv_len_;       // the same
  s32 end_position_; // the same, parts
  RingPlace q_place_;
  BlockFilter<Config> filter_;
  Probabilities<Config> probabilities_;
  Queries queries_;
  Ticket last_{0};       // the last tile's
  bool pending_ = false; // its codes_ have not met them yet
  int foreign_ = 0;      // tiles of others since
  int tiles_ = 0;        // that part_ has, beside out_
  f32 sum_[2];
  f32 out_[Config::head_dim / 2];
  f32 part_[columns / 2 + 4];
  u32 codes_[blocks][4];
};
