// SPDX-License-Identifier: Apache-2.0
// The 64 query rows of a consumer of wgmma attend. A lane holds rows row() and row() + 8; of each tile of 8 columns,
// 2(lane%4) and 2(lane%4) + 1, as elements 4·tile + 2·(row half) + column. Q·K of a tile runs beside P·V of the one
// before and the softmax between them.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "attend/wgmma/attend_item.cuh"
#include "attend/wgmma/attend_shared.cuh"
#include "attend/wgmma/block_filter.cuh"
#include "attend/wgmma/output_rows.cuh"
#include "attend/wgmma/queries.cuh"
#include "attend/wgmma/tickets.cuh"
#include "common/seen_keys.cuh"
#include "common/softcap.cuh"
#include "device/element.cuh"
#include "device/ldmatrix.cuh"
#include "device/math.cuh"
#include "device/matrix_descriptor.cuh"
#include "device/memory.cuh"
#include "device/mma.cuh"
#include "device/named_barrier.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"
#include "device/wgmma.cuh"

template <class Config>
class ConsumerRows {
  using Element = typename Config::Element;
  using Layout = AttendLayout<Config>;
  using Queries = typename QueriesOf<Config, (Config::head_dim <= 128)>::Type;
  using ValuesMma =
      Wgmma<Element, f32, Config::v_head_dim, WgmmaSource::registers, WgmmaMajor::mn, WgmmaDensity::dense>;
  static constexpr int key_tiles = Config::keys_per_step / 8;
  static constexpr int out_tiles = Config::v_head_dim / 8;
  // Probabilities are relative to the maximum of the first tile as long as the sum of a lane's in a tile stays below
  // this: then no other tile's maximum is needed.
  static constexpr f32 sum_limit = Element::largest_probability;

public:
  SALE_DEVICE ConsumerRows(const AttendWgmmaArgs &args, u32 consumer)
      : args_(args), consumer_(consumer),
        scale_log2_(score_scale<Config>(args.softcap, args.softmax_scale) * log2_of_e()) {
    if constexpr (Config::softcap) {
      cap_factor_ = softcap_factor(args.softcap, args.softmax_scale);
    }
    if (takes_turns && consumer_ == 1) {
      pass_turn(); // consumer 0 begins
    }
  }

  SALE_DEVICE void begin(s32 number) {
    next_ = number;
    const AttendItem<Config> item(args_, number);
    const s32 item_row = static_cast<s32>(consumer_) * 64 + row();
    position_ = item.position + item_row;
    if constexpr (Config::ragged) {
      kv_len_ = item.kv_len(args_);
      rows_left_ = item.q_len(args_) - item.first_row - item_row;
    }
    if constexpr (Config::filtered) {
      filter_.begin(args_, item, item_row);
    }
    shared_.q.wait_full(q_place_);
    queries_.take(shared_.q.data(q_place_) + consumer_ * Layout::q_block_bytes);
    if constexpr (Queries::leave_early) {
      leave_queries();
    }
  }

  // A tile of these rows; frees the ticket.
  SALE_DEVICE void step(Ticket ticket, TicketRing<Config> &tickets) {
    pending_ = pending_ ? step<true>(ticket, tickets) : step<false>(ticket, tickets);
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

  // No more tiles of the item begun last come. What it came to is stored now, or beside the next item's first product.
  SALE_DEVICE void finish(bool now) {
    if (!Queries::leave_early && (number_ >= 0 || next_ >= 0)) {
      leave_queries();
    }
    drain();
#pragma unroll 1
    while (next_ >= 0 || (now && number_ >= 0)) {
      settle();
    }
  }

private:
  static constexpr bool takes_turns = Config::consumers == 2;
  static SALE_DEVICE bool is_shared(Ticket ticket) { return takes_turns && ticket.users() == 3; }
  SALE_DEVICE void take_turn() const { barrier_sync(1 + consumer_, 256); }
  SALE_DEVICE void pass_turn() const { barrier_arrive(2 - consumer_, 256); }

  // Stores the rows held and makes place for those of the item begun since, if there is one.
  SALE_DEVICE void settle() {
    if (number_ >= 0) {
      store();
    }
    number_ = next_;
    next_ = -1;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      base_[r] = -infinity();
      sum_[r] = 0.0F;
    }
#pragma unroll
    for (int i = 0; i < 4 * out_tiles; ++i) {
      out_[i] = 0.0F;
    }
  }

  // With P·V of the tile before, if that is still to come. Returns whether P·V of this one is to come.
  template <bool with_values>
  SALE_DEVICE bool step(Ticket ticket, TicketRing<Config> &tickets) {
    const RingPlace place = ticket.place();
    f32 scores[4 * key_tiles];
    shared_.k.wait_full(place);
    if (is_shared(ticket)) {
      take_turn();
    }
    multiply_keys(scores, place);
    if constexpr (with_values) {
      shared_.v.wait_full(last_.place());
      multiply_values();
    }
    if (is_shared(ticket)) {
      pass_turn();
    }
    if constexpr (with_values) {
      wgmma_wait<1>();
    } else {
      if (next_ >= 0) {
        settle();
      }
      wgmma_wait<0>();
    }
    wgmma_results(scores);
    u32 dropped = 0;
    bool any_left = true;
    if constexpr (Config::filtered) {
      if constexpr (Config::ragged) {
        if (ticket.is_masked(consumer_)) {
          clear_foreign_rows(scores);
        }
      }
      const auto granules =
          filter_.apply(args_, tickets, consumer_, position_ - row(), shared_.exchange(consumer_, place),
                        [&](int g, int r) { return highest(scores, g, r); });
      dropped = granules.dropped;
      any_left = dropped != granules.kept;
    }
    f32 alpha[2];
    bool moved = false;
    if (any_left) {
      moved = soften(scores, alpha, ticket, tickets, dropped);
    }
    shared_.k.release(place);
    tickets.release();
    if constexpr (with_values) {
      wgmma_wait<0>();
      wgmma_results(out_);
      shared_.v.release(last_.place());
    }
    if (moved) {
#pragma unroll
      for (int i = 0; i < 4 * out_tiles; ++i) {
        out_[i] *= alpha[i % 4 / 2];
      }
    }
    if (!any_left) {
      shared_.v.wait_full(ticket.place());
      shared_.v.release(ticket.place());
      return false;
    }
    pack(scores);
    return true;
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
    const u64 values =
        matrix_descriptor(shared_.v.data(last_.place()), Layout::panel_bytes, 1024, MatrixSwizzle::bytes_128);
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
      shared_.v.wait_full(last_.place());
      multiply_values();
      wgmma_wait<0>();
      wgmma_results(out_);
      shared_.v.release(last_.place());
      pending_ = false;
    }
  }

  // Rows past the sequence's last count as zeros: what lies there in a batch of others has no part in the votes.
  SALE_DEVICE void clear_foreign_rows(f32 (&scores)[4 * key_tiles]) const {
#pragma unroll
    for (int i = 0; i < 4 * key_tiles; ++i) {
      scores[i] = i % 4 / 2 * 8 < rows_left_ ? scores[i] : 0.0F;
    }
  }

  // Scores of keys that a row does not see, that these rows do not keep or that were dropped become -inf.
  SALE_DEVICE void mask(f32 (&scores)[4 * key_tiles], const TicketRing<Config> &tickets, u32 dropped) const {
    constexpr int tiles_per_granule = Granule<Config>::keys / 8;
    constexpr s32 never = 0x7fff0000;
    const s32 lane_row = Config::parts ? static_cast<s32>(lane_index() / 4) : 0; // whose limits are the warp's
    const SeenKeys<Config, 64> seen(position_ - lane_row, Config::ragged ? kv_len_ : args_.kv_len,
                                    args_.sliding_window);
#pragma unroll
    for (int g = 0; g < Granule<Config>::per_tile; ++g) {
      const u32 entry = tickets.entry(g);
      const bool kept = (Granule<Config>::keep(entry) >> consumer_ & ~dropped >> g & 1U) != 0;
      const s32 column = Granule<Config>::first_key(entry) + static_cast<s32>(lane_index() % 4 * 2);
      const s32 ahead = kept ? seen.ahead(column) - seen.further(lane_row) : never;
#pragma unroll
      for (int i = 0; i < 4 * tiles_per_granule; ++i) {
        if (seen.hides(ahead, 0, i / 4, i % 4)) {
          scores[g * 4 * tiles_per_granule + i] = -infinity();
        }
      }
    }
  }

  // Of row half r in granule g; NaN if one is.
  static SALE_DEVICE f32 highest(const f32 (&scores)[4 * key_tiles], int g, int r) {
    f32 most = -infinity();
#pragma unroll
    for (int n = 0; n < Granule<Config>::keys / 8; ++n) {
      const f32 *const pair = scores + 4 * (g * (Granule<Config>::keys / 8) + n) + 2 * r;
      most = max_nan(most, max_nan(pair[0], pair[1]));
    }
    return most;
  }

  // Scores become probabilities. Returns whether the base moved: the output so far is worth alpha then.
  SALE_DEVICE bool soften(f32 (&scores)[4 * key_tiles], f32 (&alpha)[2], Ticket ticket,
                          const TicketRing<Config> &tickets, u32 dropped) {
    bool moves = warp_any(base_[0] == -infinity() || base_[1] == -infinity());
    f32 sums[2];
    alpha[0] = 1.0F;
    alpha[1] = 1.0F;
#pragma unroll 1
    for (;;) {
      if constexpr (Config::softcap) {
#pragma unroll
        for (int i = 0; i < 4 * key_tiles; ++i) {
          scores[i] = capped(scores[i], cap_factor_);
        }
      }
      if (ticket.is_masked(consumer_) || dropped != 0) {
        if constexpr (Config::ragged) {
          clear_foreign_rows(scores);
        }
        mask(scores, tickets, dropped);
      }
      if (moves) {
        raise_base(scores, alpha);
      }
      exponentiate(scores, sums);
      // A branch that needs the exponentials also keeps ptxas from waiting for the values before them.
      if (moves || !warp_any(sums[0] > sum_limit || sums[1] > sum_limit)) {
        break;
      }
      multiply_keys_again(scores, ticket.place());
      moves = true;
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      sum_[r] = sum_[r] * alpha[r] + sums[r];
    }
    return moves;
  }

  // Rows that have seen no key have no base.
  static SALE_DEVICE f32 finite(f32 base) { return base == -infinity() ? 0.0F : base; }

  SALE_DEVICE void exponentiate(f32 (&scores)[4 * key_tiles], f32 (&sums)[2]) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const f32 base = finite(base_[r]);
      f32 even = 0.0F;
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
      sums[r] = even + odd;
    }
  }

  SALE_DEVICE void raise_base(const f32 (&scores)[4 * key_tiles], f32 (&alpha)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      f32 highest = -infinity();
#pragma unroll
      for (int n = 0; n < key_tiles; ++n) {
        highest = max_f32(highest, max_f32(scores[4 * n + 2 * r], scores[4 * n + 2 * r + 1]));
      }
      highest = max_f32(highest, shuffle_xor(highest, 1));
      highest = max_f32(highest, shuffle_xor(highest, 2));
      const f32 base = max_f32(base_[r], mul_rn(highest, scale_log2_));
      alpha[r] = base_[r] == -infinity() ? 0.0F : exp2_approx(sub_rn(base_[r], base));
      base_[r] = base;
    }
  }

  // By this warp alone: few tiles need their scores twice, and not those of all four warps at once.
  SALE_DEVICE void multiply_keys_again(f32 (&scores)[4 * key_tiles], const RingPlace &place) const {
    const u32 row = lane_index() / 16 * 8 + lane_index() % 8;
    const u32 keys = shared_.k.data(place) + row * 128;
#pragma unroll
    for (int n = 0; n < key_tiles; n += 2) {
      f32 products[2][4] = {};
#pragma unroll
      for (int k = 0; k < Config::head_dim / 16; ++k) {
        u32 a[4];
        u32 b[4];
        queries_.fragment(a, k);
        const u32 chunk = k % 4 * 2 + lane_index() / 8 % 2;
        ldmatrix_x4(b, keys + k / 4 * Layout::panel_bytes + n * 8 * 128 + ((chunk ^ (row & 7U)) << 4));
        mma(Element{}, products[0], a, b[0], b[1]);
        mma(Element{}, products[1], a, b[2], b[3]);
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        scores[4 * n + i] = products[i / 4][i % 4];
      }
    }
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

  // A row's sum gains the head's sink. Returns what a part of it from before is worth now.
  SALE_DEVICE f32 add_sink(f32 &base, f32 &sum, s32 head) const {
    const f32 sink = mul_rn(load_global_f32(args_.sink_logits + head), log2_of_e());
    const f32 highest = max_f32(base, sink);
    const f32 worth = base == -infinity() ? 0.0F : exp2_approx(sub_rn(base, highest));
    sum = sum * worth + (sink == -infinity() ? 0.0F : exp2_approx(sub_rn(sink, highest)));
    base = highest;
    return worth;
  }

  // Straight from registers: the place of Q belongs to the next item already.
  SALE_DEVICE void store() const {
    const AttendItem<Config> item(args_, number_);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      f32 sum = sum_[r];
      sum += shuffle_xor(sum, 1);
      sum += shuffle_xor(sum, 2);
      f32 base = base_[r];
      f32 worth = 1.0F;
      if constexpr (Config::sink_logits) {
        worth = add_sink(base, sum, item.head);
      }
      f32 inverse = sum > 0.0F ? rcp_approx(sum) : (sum == 0.0F ? 0.0F : sum);
      if constexpr (Config::sink_logits) {
        inverse *= worth;
      }
      const s32 token = item.first_row + static_cast<s32>(consumer_) * 64 + row() + r * 8;
      if (args_.lse != nullptr && lane_index() % 4 == 0 && token < item.q_len(args_)) {
        const s64 first = item.lse_row(args_);
        store_global_f32(args_.lse + first + token, sum == 0.0F ? -infinity() : (base + log2_approx(sum)) * ln_of_2());
      }
      const s64 first = item.out_element(args_);
      u8 *out = static_cast<u8 *>(args_.out.data) + 2 * (first + token * args_.out.stride_token);
      store_output_row<Element>(out, out_, r, inverse, token < item.q_len(args_));
    }
  }

  const AttendWgmmaArgs &args_;
  const AttendShared<Config> shared_;
  u32 consumer_;
  f32 scale_log2_;
  f32 cap_factor_ = 0.0F; // softcap
  s32 number_ = -1;       // the item whose rows are held; negative before the first
  s32 next_ = -1;         // the item begun since, if there is one
  s32 position_;          // key position of row()
  s32 kv_len_;            // ragged
  s32 rows_left_;         // ragged: from row() to the sequence's last
  RingPlace q_place_;
  bool pending_ = false; // p_ has not met its values yet
  Ticket last_{0};       // of the tile that p_ is from
  int foreign_ = 0;      // tiles of others since
  BlockFilter<Config> filter_;
  Queries queries_;
  f32 base_[2]; // log2 of what probabilities are relative to; -inf before the first key
  f32 sum_[2];  // this lane's share
  f32 out_[4 * out_tiles];
  u32 p_[key_tiles / 2][4];
};
