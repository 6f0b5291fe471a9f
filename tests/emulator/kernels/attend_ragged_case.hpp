// SPDX-License-Identifier: Apache-2.0
// One call of wgmma attend over a ragged batch, and plain calls of each of its sequences.
#pragma once

#include "tests/emulator/kernels/attend_wgmma_case.hpp"
#include "tests/emulator/kernels/ragged_batch.hpp"

#include <ostream>
#include <vector>

namespace sale::test {

struct AttendRaggedCase {
  const char *name;
  std::vector<SequenceLengths> sequences;
  bool packed = true; ///< False: q, k, v and out are padded.
  double kept = 0.5;
  int kv_heads = 2; ///< Of 2 query heads.
  int head_dim = 64;
  int v_head_dim = 0; ///< 0 = head_dim.
  int block_q = 64;
  int keys_per_step = 64;
  int stages = 3;
  bool fp8 = false;
  bool dense = false;
  bool filtered = false;
  int dense_below = 0; ///< Filtered: not sequences of fewer keys.
  bool causal = true;
  int sliding_window = 0;
  float softcap = 0;
  bool sinks = false;
  int page_size = 0;        ///< 0 = not paged.
  bool heads_first = false; ///< Pages are [heads, keys, channels], else [keys, heads, channels].
  bool parts = false;       ///< Sequences may have positions at which all their keys are seen.
  unsigned ctas = 2;

  int v_width() const { return v_head_dim == 0 ? head_dim : v_head_dim; }
};

std::ostream &operator<<(std::ostream &out, const AttendRaggedCase &c);

/// Output and lse must be those of plain calls, bit for bit, and nothing else may be written. All that no sequence has
/// is NaN. Rows of causal sequences that come before all keys must be whole blocks of 128.
void expect_plain_calls(const AttendRaggedCase &c);

} // namespace sale::test
