// SPDX-License-Identifier: Apache-2.0
// What one sequence of a ragged batch brings to wgmma attend, and what a plain call of it alone gives.
#pragma once

#include "tests/emulator/kernels/attend_ragged_case.hpp"
#include "tests/emulator/kernels/device.hpp"

#include "args/attend_wgmma_args.cuh"
#include "generator/kernel_spec.hpp"

#include <cstdint>
#include <vector>

namespace sale::test {

using Elements = std::vector<std::uint16_t>;

inline constexpr int heads = 2;
inline constexpr int sink = 40;
inline constexpr int window = 50;
inline constexpr float scale = 0.125F;
inline constexpr std::uint16_t not_a_number = 0xffff;
inline constexpr std::uint32_t poison = ~0U; // of DeviceBuffer

inline int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

KernelSpec spec_of(const AttendRaggedCase &c);

// What one sequence has; of codes there are whole groups of 128 keys, as of their scales.
struct SequenceData {
  SequenceLengths lengths;
  Elements q, k, v;                   // [heads, length, head_dim or v_width()]
  std::vector<std::uint8_t> k_codes;  // [kv_heads, kv_len, head_dim]
  std::vector<std::uint8_t> v_codes;  // [kv_heads, blocks, head_dim, 32]
  std::vector<std::uint32_t> scales;  // [kv_heads, blocks, 4]
  std::vector<std::uint32_t> mask;    // [heads, q_blocks, mask_words]
  std::vector<float> thresholds;      // [heads, q_padded]
  std::vector<float> kbar;            // [kv_heads, head_dim]
  std::vector<std::uint32_t> largest; // [kv_heads], of fp32

  int q_blocks(int block_q) const { return (lengths.q_len + block_q - 1) / block_q; }
  int q_padded() const { return round_up(lengths.q_len, 128); }
  int kv_padded() const { return round_up(lengths.kv_len, 128); }
};

SequenceData random_data(const AttendRaggedCase &c, const SequenceLengths &lengths, int mask_words, unsigned seed);

// Output and lse of a sequence.
struct SequenceResult {
  Elements out;
  std::vector<float> lse;
};

// What a plain call and a ragged one have in common.
AttendWgmmaArgs common_args(const AttendRaggedCase &c, int mask_words, const DeviceBuffer &sinks);
void launch(const KernelSpec &spec, unsigned ctas, AttendWgmmaArgs &args);

// Rows before all keys are zero, the others those of a plain call.
SequenceResult expected(const AttendRaggedCase &c, const SequenceData &data, int mask_words);

} // namespace sale::test
