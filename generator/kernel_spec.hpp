// SPDX-License-Identifier: Apache-2.0
// KernelSpec: everything that changes a kernel's source, and nothing else.
#pragma once

#include "generator/arch.hpp"
#include "sale/types.hpp"

#include <string>
#include <string_view>

namespace sale {

/// Which instructions a kernel is built on: warp products of every GPU, or Hopper's warpgroups and tensor copies.
enum class KernelFamily { mma_sync, wgmma };

/// The steps of one attention call, in order.
enum class Stage {
  sequences, ///< Ragged: lengths on the device to a schedule.
  mean,      ///< kbar (and qbar for int4).
  channels,  ///< fp8: which channels estimate, by energy.
  quantize,  ///< K to codes.
  amax,      ///< fp8_attend: the largest |v| of each KV head.
  values,    ///< fp8_attend: V to codes.
  prepare,   ///< Thresholds per row; Q to codes.
  select,    ///< Estimates to mask bits.
  tails,     ///< Ragged, where attend copies values without a look at them: the last ones, then zeros.
  attend,    ///< Flash attention over the kept blocks.
  merge,     ///< Parts: two outputs to one. Not in a call.
  count      ///< Serving::counted: around a call, what it kept and how long it took.
};

/// What a row goes through before it becomes fp8 codes.
enum class EstimateBasis {
  all,       ///< Nothing.
  channels,  ///< Only the chosen channels stay.
  projection ///< A matrix of estimate_dim rows.
};

const char *to_string(Stage stage);
Stage parse_stage(std::string_view name);
/// prepare, select and attend: which keys a row sees changes their kernels.
bool sees_keys_of_rows(Stage stage);
/// prepare and attend: what becomes of the scores changes their kernels.
bool sums_scores(Stage stage);
/// mean, amax and values: dtype and head_dim alone tell their kernels apart.
bool ignores_policy(Stage stage);
/// prepare, select and attend: tuning chooses their tiles.
bool is_tunable(Stage stage);
/// Which stages read K or V, and so their pages: select does for exact only.
bool reads_keys(Stage stage, Estimator estimator);

/// What tuning may choose; never changes a result but by rounding.
struct Tile {
  int rows_per_warp = 16; ///< Query rows one warp owns: 16 or 32; select also 64. 16 for wgmma attend.
  int warps = 4;          ///< That compute: wgmma adds four that load. A multiple of 4 there.
  int keys_per_step = 64; ///< Keys in shared memory per pipeline stage.
  int stages = 2;         ///< Pipeline stages.
  int min_ctas = 1;       ///< CTAs per SM that registers are budgeted for (__launch_bounds__).

  int rows() const { return rows_per_warp * warps; }
  friend bool operator==(const Tile &, const Tile &) = default;
};

struct KernelSpec {
  Stage stage = Stage::attend;
  Arch arch{9, 0};
  DType dtype = DType::bf16;
  int head_dim = 128;
  int v_head_dim = 0;                    ///< attend only; 0 = head_dim.
  int gqa = 1;                           ///< num_q_heads / num_kv_heads.
  Estimator estimator = Estimator::int8; ///< Does not change mean and attend.
  int block_q = 64;
  int block_k = 32;
  bool dense = false;                       ///< attend only: every visible key, no mask read.
  int estimate_dim = 0;                     ///< fp8: channels of a row of codes; 0 = head_dim.
  EstimateBasis basis = EstimateBasis::all; ///< fp8.
  bool prune_queries = false;               ///< fp8: Q is 2:4 sparse.
  bool fp8_attend = false;                  ///< attend; and a quantize whose codes are for attend alone.
  bool second_filter = false;               ///< attend only.
  bool causal = true;                       ///< prepare, select, attend.
  bool sliding = false;                     ///< The same: rows see the last keys of a run-time number.
  bool softcap = false;                     ///< prepare, attend.
  bool sink_logits = false;                 ///< prepare, attend.
  bool ragged = false;                      ///< All but merge: lengths come from the device.
  int page_rows = 0;                        ///< K and V are paged, in multiples of so many keys (16 or 32); 0 = not.
  bool coded_pages = false;                 ///< quantize, select: codes of K lie in pages.
  bool parts = false;                       ///< prepare, select, attend: keys are a part of a context.
  Tile tile;

  KernelFamily family() const;
  /// Threads of a CTA.
  int threads() const;
  /// Channels of V and the output.
  int v_width() const { return v_head_dim == 0 ? head_dim : v_head_dim; }
  /// Channels of the estimate.
  int estimate_width() const { return estimate_dim == 0 ? head_dim : estimate_dim; }
  /// Keys of one tensor copy of attend's wgmma family: they share their mask bit.
  int keys_per_copy() const;
  /// Rows of a box in the maps of 16-bit K and V there: small pages hold half a copy.
  int keys_per_box() const;

  /// What of causal, sliding, softcap and sink_logits is not plain and changes this stage: " sliding softcap".
  std::string variants() const;
  /// The same of ragged, page_rows, coded_pages and parts: " ragged paged32".
  std::string serving() const;
  /// One line that tells the kernels of a plan apart, e.g. "attend sm_90 bf16 d128 gqa4 q64 k32 tile
  /// 32x4/64/2/2".
  std::string describe() const;
  /// The same without the tile: what a tuning record calls kernels of one kind.
  std::string class_name() const;
  /// "sale_attend".
  std::string entry_name() const;
  /// Bytes of dynamic shared memory of a launch.
  int shared_memory() const;
  /// Bytes of one row of codes of Q or K (0 for exact); Q's are half as many when pruned.
  int code_row_bytes() const;

  friend bool operator==(const KernelSpec &, const KernelSpec &) = default;
};

/// The tile libsale uses when nothing was tuned for this device.
Tile default_tile(const KernelSpec &spec);

/// Throws Error(invalid_argument) when no kernel exists for the spec, with a sentence that says what does.
void validate(const KernelSpec &spec);

} // namespace sale
