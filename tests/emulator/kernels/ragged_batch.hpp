// SPDX-License-Identifier: Apache-2.0
// A ragged batch in device memory as the sequences kernel leaves it, for tests of the other kernels; and the model that
// the sequences kernel itself is held to.
#pragma once

#include "args/ragged_arg.cuh"
#include "tests/emulator/kernels/device.hpp"

#include <memory>
#include <optional>
#include <vector>

namespace sale::test {

struct SequenceLengths {
  int q_len = 0;
  int kv_len = 0;
  std::optional<int> position = std::nullopt; ///< Of row 0; empty = kv_len - q_len.
  int key_offset = 0;
  int coded_len = 0;
};

struct BatchLayout {
  int num_q_heads = 1;
  int block_q = 64;
  bool packed_q = true;
  bool packed_kv = true; ///< False: padded or paged.
  bool causal = true;
  int max_q_len = 0; ///< Padded to; 0 = the longest.
  int max_kv_len = 0;
  int kbar_stride = 0;
  int dense_below = 0;
  int sliding_window = 0;
};

class RaggedBatch {
public:
  RaggedBatch(const std::vector<SequenceLengths> &sequences, const BatchLayout &layout);

  const ::RaggedArg &arg() const { return arg_; }

  // What the device has.
  std::vector<::SequenceEntry> entries;
  ::SequenceCounts counts{};
  std::vector<unsigned> row_units; ///< Poison from counts.row_units on.
  std::vector<unsigned> key_units;

  int max_q_len = 0;
  int max_kv_len = 0;
  int total_q = 0; ///< Rows of q and out, of one head: all sequences where packed, else max_q_len.
  int total_kv = 0;
  int mask_rows = 0; ///< Of all heads.
  int lse_rows = 0;  ///< Of all heads.

private:
  ::RaggedArg arg_{};
  std::vector<std::unique_ptr<DeviceBuffer>> buffers_;
};

} // namespace sale::test
