// SPDX-License-Identifier: Apache-2.0
// How large the caller's tensors and the arrays of the workspace are, for every way of handing sequences over. Pure.
#pragma once

#include "sale/sale.hpp"

#include <cstddef>
#include <cstdint>

namespace sale {

/// Of a tensor [batch, heads, tokens, head_dim]. Packed sequences are one batch element, pages are one each.
struct Extents {
  int batch = 0;
  int heads = 0;
  int tokens = 0;
};
Extents query_extents(const Problem &problem, const Shape &shape);
Extents key_extents(const Problem &problem, const Serving &serving, const RunArgs &args);

/// What one head has of all sequences together.
struct Capacity {
  std::size_t q_rows = 0;            ///< In what is indexed by query row: whole tiles of 128.
  std::size_t keys = 0;              ///< In codes; ragged: whole tiles of 128.
  std::size_t key_groups = 0;        ///< Of 32 keys.
  std::size_t padded_key_groups = 0; ///< In multiples of 4 a sequence.
  std::size_t mask_rows = 0;
  std::size_t lse_rows = 0;
  std::size_t slots = 0; ///< Ragged: units of 512 query rows.
};
/// What a cache of codes has, in bytes from its start: codes [num_pages, num_kv_heads, page_size, code_row_bytes], then
/// a word for each 32 of them.
struct CodeCacheLayout {
  std::size_t scales = 0;
  std::size_t total = 0;
};
CodeCacheLayout code_cache_layout(const Problem &problem, const Serving &serving, std::int64_t num_pages,
                                  int code_row_bytes);

Capacity capacity_of(const Policy &policy, const Serving &serving, const Shape &shape);

} // namespace sale
