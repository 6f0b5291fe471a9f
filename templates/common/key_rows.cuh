// SPDX-License-Identifier: Apache-2.0
// Where the rows of one head of K or V lie: evenly spaced, or in the pages of the sequence. Config says ragged and
// paged.
#pragma once

#include "args/paged_arg.cuh"
#include "common/sequence.cuh"
#include "common/tensor.cuh"
#include "device/types.cuh"

template <class Config>
class KeyRows {
public:
  // Args: ragged and paged. table null in a paged kernel: this tensor is not (mean also serves Q).
  template <class Args>
  SALE_DEVICE KeyRows(const Args &args, const TensorArg &tensor, const Sequence<Config> &sequence, s32 head)
      : stride_(2 * tensor.stride_token) {
    if constexpr (Config::paged) {
      base_ = static_cast<const u8 *>(tensor.data) + s64{2} * head * tensor.stride_head;
      page_stride_ = 2 * tensor.stride_batch;
      page_size_ = args.paged.page_size;
      table_ = args.paged.table + sequence.batch * args.paged.table_stride;
    } else {
      base_ = static_cast<const u8 *>(tensor.data) + 2 * sequence.key_element(args, tensor, head);
    }
  }

  // Of a key below kv_len. Up to the next multiple of Config::page_rows, which divides a page, rows are evenly spaced.
  SALE_DEVICE const u8 *row(s64 key) const {
    if constexpr (Config::paged) {
      const s32 page = static_cast<s32>(key) / page_size_;
      return base_ + table_[page] * page_stride_ + (key - s64{page} * page_size_) * stride_;
    } else {
      return base_ + key * stride_;
    }
  }

  // Rows begin so many bytes later from now on.
  SALE_DEVICE void skip(s64 bytes) { base_ += bytes; }

  // The same of a key that need not be below `limit`, then some address: pages of other keys may not exist.
  SALE_DEVICE const u8 *row_below(s32 key, s32 limit) const { return key < limit ? row(key) : base_; }

  // Bytes from a row to the next.
  SALE_DEVICE s64 stride() const { return stride_; }

private:
  const u8 *base_;
  s64 stride_;
  s64 page_stride_; // paged
  const int *table_;
  s32 page_size_;
};
