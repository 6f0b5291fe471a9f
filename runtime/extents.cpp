// SPDX-License-Identifier: Apache-2.0
#include "runtime/extents.hpp"

namespace sale {

namespace {

constexpr std::size_t tile_rows = 128;
constexpr std::size_t unit_rows = 512;
constexpr std::size_t group_keys = 32; // docs/numerics.md, section 5: whatever block_k is

std::size_t ceil_div(std::size_t value, std::size_t divisor) { return (value + divisor - 1) / divisor; }

// Rows in whole blocks of `block`, so that each sequence begins with one.
std::size_t whole_blocks(std::size_t batch, std::size_t length, std::size_t total, std::size_t block) {
  return total > 0 ? total / block + batch : batch * ceil_div(length, block);
}

} // namespace

Extents query_extents(const Problem &problem, const Shape &shape) {
  if (shape.total_q > 0) {
    return {1, problem.num_q_heads, shape.total_q};
  }
  return {shape.batch, problem.num_q_heads, shape.q_len};
}

Extents key_extents(const Problem &problem, const Serving &serving, const RunArgs &args) {
  const Shape &shape = args.shape;
  if (serving.page_size > 0) {
    return {args.num_pages, problem.num_kv_heads, serving.page_size};
  }
  if (shape.total_kv > 0) {
    return {1, problem.num_kv_heads, shape.total_kv};
  }
  return {shape.batch, problem.num_kv_heads, shape.kv_len};
}

CodeCacheLayout code_cache_layout(const Problem &problem, const Serving &serving, std::int64_t num_pages,
                                  int code_row_bytes) {
  constexpr std::size_t alignment = 256;
  const std::size_t keys = static_cast<std::size_t>(num_pages) * static_cast<std::size_t>(problem.num_kv_heads) *
                           static_cast<std::size_t>(serving.page_size);
  CodeCacheLayout layout;
  layout.scales = ceil_div(keys * static_cast<std::size_t>(code_row_bytes), alignment) * alignment;
  layout.total = layout.scales + keys / group_keys * 4;
  return layout;
}

Capacity capacity_of(const Policy &policy, const Serving &serving, const Shape &shape) {
  const auto batch = static_cast<std::size_t>(shape.batch);
  const auto q_len = static_cast<std::size_t>(shape.q_len);
  const auto kv_len = static_cast<std::size_t>(shape.kv_len);
  const auto total_q = static_cast<std::size_t>(shape.total_q);
  const auto total_kv = static_cast<std::size_t>(shape.total_kv);
  Capacity capacity;
  capacity.q_rows = tile_rows * whole_blocks(batch, q_len, total_q, tile_rows);
  capacity.mask_rows = whole_blocks(batch, q_len, total_q, static_cast<std::size_t>(policy.block_q));
  capacity.lse_rows = total_q > 0 ? total_q : batch * q_len;
  capacity.padded_key_groups = tile_rows / group_keys * whole_blocks(batch, kv_len, total_kv, tile_rows);
  if (serving.is_ragged()) {
    capacity.keys = group_keys * capacity.padded_key_groups;
    capacity.key_groups = capacity.padded_key_groups;
    capacity.slots = whole_blocks(batch, q_len, total_q, unit_rows);
  } else {
    capacity.keys = batch * kv_len;
    capacity.key_groups = batch * ceil_div(kv_len, group_keys);
  }
  return capacity;
}

} // namespace sale
