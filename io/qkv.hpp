// SPDX-License-Identifier: Apache-2.0
// Q, K, V of one attention call from a safetensors file, and its results into one.
#pragma once

#include "reference/mask.hpp"
#include "reference/tensors.hpp"
#include "sale/types.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace sale::io {

/// Densely packed 16-bit tensors, what their shapes say, and the file's softmax scale.
struct Qkv {
  Problem problem; ///< softmax_scale is the metadata's, or the default when there is none.
  Shape shape;
  std::map<std::string, std::string> metadata;
  std::vector<std::uint16_t> q; ///< [batch, num_q_heads, q_len, head_dim]
  std::vector<std::uint16_t> k; ///< [batch, num_kv_heads, kv_len, head_dim]
  std::vector<std::uint16_t> v; ///< [batch, num_kv_heads, kv_len, v_head_dim]
};

/// Reads tensors q, k and v, all BF16 or all F16, and the metadata's softmax_scale if it has one. Throws
/// Error(invalid_argument) when they do not fit together.
Qkv load_qkv(const std::filesystem::path &path);

/// The same numbers as floats.
reference::Tensors to_tensors(const Qkv &qkv);

/// Writes `out` [batch, num_q_heads, q_len, v_head_dim], `lse` F32 [batch, num_q_heads, q_len] and `mask` U8
/// (docs/numerics.md, section 9).
void write_result(const std::filesystem::path &path, const Problem &problem, const Shape &shape,
                  std::span<const std::uint16_t> out, std::span<const float> lse, const reference::Mask &mask);

} // namespace sale::io
