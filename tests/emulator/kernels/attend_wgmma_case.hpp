// SPDX-License-Identifier: Apache-2.0
// One call of wgmma attend and what plain loops make of it.
#pragma once

#include "generator/kernel_spec.hpp"

#include <ostream>
#include <vector>

namespace sale::test {

struct AttendWgmmaCase {
  const char *name;
  int head_dim = 64;
  int q_len = 130;
  int kv_len = 300;
  int block_q = 64;
  int block_k = 32;
  double kept[2] = {0.5, 0.5}; ///< Of even and of odd query blocks.
  int keys_per_step = 64;
  int stages = 3;
  bool dense = false;
  int consumers = 2;
  int heads = 2;
  int gqa = 1;
  int batch = 1;
  unsigned ctas = 1;
  bool dynamic = false;
  float level = 0; ///< Every score is near this, the later the key the nearer to 0.
  DType dtype = DType::bf16;
  bool filtered = false; ///< With thresholds that leave out about half of the blocks that may be.
  int sliding_window = 0;
  float softcap = 0;
  std::vector<float> sink_logits = {}; ///< Of heads, in turn.
  bool causal = true;
  int v_head_dim = 0; ///< 0 = head_dim.
};

std::ostream &operator<<(std::ostream &out, const AttendWgmmaCase &c);

/// Runs it in the present order of threads; output and lse must be those of plain loops.
void expect_plain_loops(const AttendWgmmaCase &c);

enum class AttendKind { sparse, dense, filtered };

/// For sm_90a, without a tile.
KernelSpec attend_wgmma_spec(int head_dim, DType dtype, AttendKind kind);

} // namespace sale::test
