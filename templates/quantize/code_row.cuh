// SPDX-License-Identifier: Apache-2.0
// Where quantize writes the codes of a key: to the workspace, or to the page of the key.
#pragma once

#include "args/quantize_args.cuh"
#include "common/coded_pages.cuh"
#include "common/sequence.cuh"
#include "device/types.cuh"

template <class Config>
SALE_DEVICE u8 *code_row(const QuantizeArgs &args, const Sequence<Config> &sequence, s32 kv_head, s64 key) {
  if constexpr (Config::coded_pages) {
    return CodedPages<Config>(args.paged, sequence.batch, args.num_kv_heads, kv_head).row(key);
  } else {
    return args.codes + (sequence.key_row(args, args.num_kv_heads, kv_head) + key) * Config::code_row_bytes;
  }
}
