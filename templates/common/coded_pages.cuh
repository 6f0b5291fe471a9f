// SPDX-License-Identifier: Apache-2.0
// Where the codes of a head's keys and their scales lie when they are kept beside the pages of K.
#pragma once

#include "args/paged_arg.cuh"
#include "device/types.cuh"

template <class Config>
class CodedPages {
public:
  SALE_DEVICE CodedPages(const PagedArg &paged, s32 batch, s32 kv_heads, s32 kv_head)
      : paged_(paged), table_(paged.table + static_cast<s64>(batch) * paged.table_stride), kv_heads_(kv_heads),
        kv_head_(kv_head) {}

  // Codes of a key below kv_len. Those of the same 32 keys follow each other.
  SALE_DEVICE u8 *row(s64 key) const {
    const s32 page = static_cast<s32>(key) / paged_.page_size;
    return paged_.codes + (first_row(page) + (key - s64{page} * paged_.page_size)) * Config::code_row_bytes;
  }
  // Bytes from a row to the next.
  SALE_DEVICE s64 stride() const { return Config::code_row_bytes; }

  // The scale of 32 keys.
  SALE_DEVICE u32 *scale(s64 group) const {
    const s32 page = static_cast<s32>(group) * 32 / paged_.page_size;
    return paged_.scales + first_row(page) / 32 + (group - s64{page} * (paged_.page_size / 32));
  }

private:
  SALE_DEVICE s64 first_row(s32 page) const {
    return (static_cast<s64>(table_[page]) * kv_heads_ + kv_head_) * paged_.page_size;
  }

  const PagedArg &paged_;
  const int *table_;
  s32 kv_heads_;
  s32 kv_head_;
};
