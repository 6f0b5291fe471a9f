// SPDX-License-Identifier: Apache-2.0
// The vocabulary of libsale: what a model fixes (Problem), how sparse it runs (Policy), and one call's Shape.
#pragma once

#include "sale/export.h"

#include <cstdint>
#include <vector>

namespace sale {

/// Element type of Q, K, V and the output.
enum class DType { bf16, f16 };

/// How `select` estimates q·k (docs/numerics.md).
enum class Estimator {
  exact, ///< 16-bit products, fp32 accumulation.
  int8,  ///< K per 32-key block, Q per row, amax/127; K smoothed by kbar, Q not.
  int4,  ///< The paper's grid, codes in [-7, 7]; K and Q smoothed (arXiv 2505.24179, section 3).
  fp8    ///< e4m3 with power-of-two scales, K per 32-key block, Q per row; K smoothed by kbar, Q not. sm_90a.
};

/// How K and V are stored.
enum class KvType {
  same,     ///< As Problem::dtype.
  fp8_e4m3, ///< Refused.
  int8      ///< Refused.
};

/// What a model fixes about its attention.
struct Problem {
  DType dtype = DType::bf16;
  int head_dim = 128;
  int v_head_dim = 0; ///< Of V and the output; 0 = head_dim. (192, 128) is the only unequal pair.
  int num_q_heads = 32;
  int num_kv_heads = 8;       ///< Divides num_q_heads; num_q_heads / num_kv_heads is the GQA ratio.
  bool causal = true;         ///< Bottom-right aligned: query i sees keys j <= kv_len - q_len + i.
  float softmax_scale = 0.0F; ///< 0 means 1 / sqrt(head_dim).
  int sliding_window = 0;     ///< Keys a row sees, its own included; 0 = all. (FlashAttention's window_left + 1.)
  float softcap = 0.0F;       ///< c > 0: scaled logits become c * tanh(logit / c); at most 1000; 0 = none.
  bool sink_logits = false;   ///< Calls bring RunArgs::sink_logits, learned by the model; not Policy::sink.

  // Refused unless left as they are: named so that a port meets a sentence, not another result.
  bool alibi = false;
  float dropout = 0.0F;
  bool backward = false;
  KvType kv_type = KvType::same;
};

/// How sparse attention may be. Policy decides results; tile sizes never do (docs/numerics.md).
struct Policy {
  Estimator estimator = Estimator::int8;
  int block_q = 64;                  ///< Rows of a mask tile: 64 or 128.
  int block_k = 32;                  ///< Keys of a mask tile: 32, 64 or 128.
  int sink = 32;                     ///< Keys at the start that are always kept; not Problem::sink_logits.
  int window = 128;                  ///< Keys before a query block that are always kept.
  float tau = 0.004F;                ///< Relative-score threshold of every head, in [0, inf); 0 is dense.
  std::vector<float> tau_per_head;   ///< [num_q_heads], overrides tau; empty = tau everywhere.
  std::vector<float> shift_per_head; ///< [num_q_heads], nats, > 0 keeps more; empty = 0 everywhere.

  /// [num_kv_heads, head_dim]: what K loses before it becomes codes. Empty = the mean of each call's keys.
  std::vector<float> kbar;

  // Cheaper estimates, fp8 only (docs/numerics.md, section 12).
  int estimate_dim = 0;          ///< Channels of the estimate: 0 = head_dim, else a multiple of 32 below it.
  std::vector<int> channels;     ///< [num_kv_heads, estimate_dim], ascending per head; empty = by energy, each call.
  std::vector<float> projection; ///< [num_kv_heads, 2, estimate_dim, head_dim]: of Q, of K; empty = none.
  bool prune_queries = false;    ///< Keep 2 of every 4 channels of a row of Q: 0.6 of the time of select.

  // How attend computes.
  bool fp8_attend = false;    ///< Q·K and P·V in e4m3. sm_90a, head_dim 64, 128 and 256.
  bool second_filter = false; ///< Skip exp and P·V of 32-key blocks in which no exact score exceeds its T. sm_90a,
                              ///< not head_dim 96.
  int dense_below = 0;        ///< Calls with kv_len below this run dense.
};

/// How calls hand sequences over; fixed when a Plan is prepared. By default they are [batch, heads, tokens, head_dim],
/// all of one length.
struct Serving {
  bool ragged = false;     ///< Lengths differ, or are known on the device only: packed (Shape::total_q) or padded.
  int page_size = 0;       ///< Keys of a page of K and V, a multiple of 16; 0 = no pages. Implies ragged.
  bool code_cache = false; ///< Codes of K stay beside the pages, so that a chunk quantizes only what is new.
  bool parts = false;      ///< K and V are one part of a longer context (RunArgs::key_offsets). Implies ragged.
  bool counted = false;    ///< Calls are counted on the device, too (PlanCounters), by two small kernels around each.

  /// Whether lengths come from the device.
  bool is_ragged() const { return ragged || page_size != 0 || parts; }
};

/// Sizes of one call. Of a ragged Plan q_len and kv_len are the most that any sequence has.
struct Shape {
  int batch = 1;
  int q_len = 0;
  int kv_len = 0;   ///< >= q_len in causal attention, unless the Plan is ragged.
  int total_q = 0;  ///< Ragged: rows of packed q and out; 0 = padded, [batch, heads, q_len, head_dim].
  int total_kv = 0; ///< Ragged: rows of packed k and v; 0 = padded, or paged.
};

/// Milliseconds of each stage of one profiled call; 0 for stages that did not run.
struct StageTimes {
  double sequences = 0; ///< Ragged: lengths to a schedule.
  double mean = 0;
  double channels = 0;
  double quantize = 0;
  double amax = 0;   ///< fp8_attend: the largest |v| of each KV head.
  double values = 0; ///< fp8_attend: V to codes.
  double prepare = 0;
  double select = 0;
  double tails = 0; ///< Ragged: the last values of each sequence.
  double attend = 0;
  double total = 0;
};

/// softmax_scale with its default filled in.
SALE_API float effective_softmax_scale(const Problem &problem);

/// v_head_dim with its default filled in.
SALE_API int effective_v_head_dim(const Problem &problem);

/// Throws Error(invalid_argument) with one sentence that says what is supported.
SALE_API void validate(const Problem &problem);
SALE_API void validate(const Policy &policy, const Problem &problem);
SALE_API void validate(const Serving &serving, const Problem &problem, const Policy &policy);
SALE_API void validate(const Shape &shape, bool causal = true);
SALE_API void validate(const Shape &shape, const Problem &problem, const Serving &serving);

SALE_API const char *to_string(DType dtype);
SALE_API const char *to_string(Estimator estimator);

} // namespace sale
