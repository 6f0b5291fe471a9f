// SPDX-License-Identifier: Apache-2.0
// One sequence of a call: its lengths, and where its rows lie in tensors and in the workspace. Plain batches are
// uniform, and all of it follows from the arguments; those of ragged ones have an entry each. Config says ragged.
#pragma once

#include "args/ragged_arg.cuh"
#include "common/tensor.cuh"
#include "device/types.cuh"

// Query rows of one entry of RaggedArg::row_units.
inline constexpr s32 rows_per_unit = 512;

template <class Config>
struct Sequence {
  s64 batch;
  s32 q_len;
  s32 kv_len;
  s32 position; // key position of query row 0

  // Args: ragged, kv_len or len, and q_len where queries matter.
  template <class Args>
  SALE_DEVICE Sequence(const Args &args, s64 index) : batch(index) {
    if constexpr (Config::ragged) {
      q_len = entry(args).q_len;
      kv_len = entry(args).kv_len;
      position = entry(args).position;
    } else {
      kv_len = keys_of(args, 0);
      q_len = queries_of(args, 0);
      position = kv_len - q_len;
    }
  }

  // First row of a head in what the workspace has of queries: [batch, heads, round_up(q_len, 128)] where plain.
  template <class Args>
  SALE_DEVICE s64 query_row(const Args &args, s32 heads, s32 head) const {
    if constexpr (Config::ragged) {
      return static_cast<s64>(head) * args.ragged.q_rows + entry(args).q_row;
    } else {
      const s32 rows = ceil_div(q_len, 128) * 128;
      return (batch * heads + head) * rows;
    }
  }

  // First key of a head in the codes: [batch, heads, kv_len] where plain.
  template <class Args>
  SALE_DEVICE s64 key_row(const Args &args, s32 heads, s32 head) const {
    if constexpr (Config::ragged) {
      return static_cast<s64>(head) * args.ragged.kv_rows + entry(args).kv_row;
    } else {
      return (batch * heads + head) * kv_len;
    }
  }

  // First group of 32 keys of a head in what there is one of for each: [batch, heads, groups] where plain, a multiple
  // of `round` groups a head.
  template <int round, class Args>
  SALE_DEVICE s64 key_group(const Args &args, s32 heads, s32 head) const {
    if constexpr (Config::ragged) {
      return key_row(args, heads, head) / 32;
    } else {
      const s32 groups = ceil_div(kv_len, 32 * round) * round;
      return (batch * heads + head) * groups;
    }
  }

  // First row of a head in lse.
  template <class Args>
  SALE_DEVICE s64 lse_row(const Args &args, s32 heads, s32 head) const {
    if constexpr (Config::ragged) {
      return head * args.ragged.lse_stride + entry(args).lse_row;
    } else {
      return (batch * heads + head) * q_len;
    }
  }

  // Row of query block 0 of a head in the mask.
  template <class Args>
  SALE_DEVICE s64 mask_row(const Args &args, s32 heads, s32 head) const {
    if constexpr (Config::ragged) {
      return head * args.ragged.mask_stride + entry(args).mask_row;
    } else {
      return (batch * heads + head) * ceil_div(q_len, Config::block_q);
    }
  }

  // Element of a head's first row in q or out.
  template <class Args>
  SALE_DEVICE s64 query_element(const Args &args, const TensorArg &tensor, s32 head) const {
    if constexpr (Config::ragged) {
      return batch * args.ragged.q_batch * tensor.stride_batch + head * tensor.stride_head +
             entry(args).q_start * tensor.stride_token;
    } else {
      return batch * tensor.stride_batch + head * tensor.stride_head;
    }
  }

  // Element of a head's first row in k or v that are not paged.
  template <class Args>
  SALE_DEVICE s64 key_element(const Args &args, const TensorArg &tensor, s32 head) const {
    if constexpr (Config::ragged) {
      return batch * args.ragged.kv_batch * tensor.stride_batch + head * tensor.stride_head +
             entry(args).kv_start * tensor.stride_token;
    } else {
      return batch * tensor.stride_batch + head * tensor.stride_head;
    }
  }

  // Element of a head's mean key in kbar: [batch, heads, head_dim] where plain.
  template <class Args>
  SALE_DEVICE s64 kbar_element(const Args &args, s32 heads, s32 head) const {
    if constexpr (Config::ragged) {
      return batch * args.ragged.kbar_stride + head * Config::head_dim;
    } else {
      return (batch * heads + head) * Config::head_dim;
    }
  }

  template <class Args>
  SALE_DEVICE const SequenceEntry &entry(const Args &args) const {
    return args.ragged.sequences[batch];
  }

private:
  // The second overloads fit worse, and serve arguments without the member.
  template <class Args>
  static SALE_DEVICE auto keys_of(const Args &args, int) -> decltype(args.kv_len + 0) {
    return args.kv_len;
  }
  template <class Args>
  static SALE_DEVICE s32 keys_of(const Args &args, long /*worse*/) {
    return args.len;
  }
  template <class Args>
  static SALE_DEVICE auto queries_of(const Args &args, int) -> decltype(args.q_len + 0) {
    return args.q_len;
  }
  template <class Args>
  static SALE_DEVICE s32 queries_of(const Args & /*args*/, long /*worse*/) {
    return 0;
  }
};

// Rows of a CTA whose tile of `rows` consecutive query rows is number `number` of the schedule; rows divides 512.
template <int rows>
struct ScheduledRows {
  static_assert(rows_per_unit % rows == 0, "whole tiles in a unit");
  static constexpr s32 per_unit = rows_per_unit / rows;

  bool exists; // there is such a unit; its rows may yet lie past the sequence's last
  s32 batch;
  s32 first_row;

  SALE_DEVICE ScheduledRows(const RaggedArg &ragged, s32 number) {
    exists = number / per_unit < ragged.counts->row_units;
    take(exists ? ragged.row_units[number / per_unit] : 0, number);
  }

  // Of a tile whose unit is known to exist: read again, rather than keep it in registers meanwhile.
  static SALE_DEVICE ScheduledRows again(const RaggedArg &ragged, s32 number) {
    ScheduledRows scheduled;
    scheduled.exists = true;
    scheduled.take(ragged.row_units[number / per_unit], number);
    return scheduled;
  }

private:
  ScheduledRows() = default;

  SALE_DEVICE void take(u32 unit, s32 number) {
    batch = static_cast<s32>(unit >> 16);
    // The last rows of a unit see most.
    first_row = static_cast<s32>(unit & 0xffffU) * rows_per_unit + (per_unit - 1 - number % per_unit) * rows;
  }
};

// The sequence that key group `group` of 32 belongs to, among those of the workspace; negative: nobody's.
SALE_DEVICE s32 owner_of_keys(const RaggedArg &ragged, s32 group) {
  return static_cast<s32>(ragged.key_units[group / 4]);
}
