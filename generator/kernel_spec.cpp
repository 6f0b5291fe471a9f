// SPDX-License-Identifier: Apache-2.0
#include "generator/kernel_spec.hpp"

#include "generator/shared_memory.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <array>

namespace sale {

namespace {

// How a CTA's rows and query blocks must divide each other.
bool rows_fit_blocks(const KernelSpec &spec) {
  const int rows = spec.tile.rows();
  switch (spec.stage) {
  case Stage::sequences:
  case Stage::mean:
  case Stage::amax:
  case Stage::channels:
  case Stage::tails:
  case Stage::merge:
  case Stage::count: return true;
  case Stage::quantize: return spec.tile.warps == 4;
  case Stage::values: return 32 * spec.tile.warps == spec.head_dim;
  case Stage::prepare:
    // No more heads than there are; all warps of a CTA help each other with a projection.
    return rows % spec.block_q == 0 && spec.block_q % spec.tile.rows_per_warp == 0 &&
           spec.block_k % spec.tile.keys_per_step == 0 && rows <= spec.gqa * spec.block_q &&
           (spec.basis != EstimateBasis::projection || spec.gqa * spec.block_q % rows == 0);
  case Stage::select:
    // Those of wgmma take pieces of 64 rows, of whichever head.
    return rows % spec.block_q == 0 &&
           (spec.family() == KernelFamily::wgmma || spec.block_q % spec.tile.rows_per_warp == 0);
  case Stage::attend: return spec.dense || rows == spec.block_q || rows == 2 * spec.block_q || spec.block_q % rows == 0;
  }
  return false;
}

const char *basis_suffix(EstimateBasis basis) {
  switch (basis) {
  case EstimateBasis::all: return "";
  case EstimateBasis::channels: return " channels";
  case EstimateBasis::projection: return " projection";
  }
  return "";
}

constexpr std::array stages = {Stage::sequences, Stage::mean,   Stage::channels, Stage::quantize,
                               Stage::amax,      Stage::values, Stage::prepare,  Stage::select,
                               Stage::tails,     Stage::attend, Stage::merge,    Stage::count};

} // namespace

const char *to_string(Stage stage) {
  switch (stage) {
  case Stage::sequences: return "sequences";
  case Stage::mean: return "mean";
  case Stage::channels: return "channels";
  case Stage::quantize: return "quantize";
  case Stage::amax: return "amax";
  case Stage::values: return "values";
  case Stage::prepare: return "prepare";
  case Stage::select: return "select";
  case Stage::tails: return "tails";
  case Stage::attend: return "attend";
  case Stage::merge: return "merge";
  case Stage::count: return "count";
  }
  return "unknown";
}

Stage parse_stage(std::string_view name) {
  for (const Stage stage : stages) {
    if (name == to_string(stage)) {
      return stage;
    }
  }
  throw Error(
      ErrorKind::invalid_argument,
      fmt::format(
          "stage '{}' is not known; stages are sequences, mean, channels, quantize, amax, values, prepare, select, "
          "tails, attend, merge and count",
          name));
}

bool ignores_policy(Stage stage) {
  switch (stage) {
  case Stage::sequences:
  case Stage::mean:
  case Stage::amax:
  case Stage::values:
  case Stage::tails:
  case Stage::merge: return true;
  default: return false;
  }
}

bool reads_keys(Stage stage, Estimator estimator) {
  switch (stage) {
  case Stage::sequences:
  case Stage::merge:
  case Stage::count: return false;
  case Stage::select: return estimator == Estimator::exact;
  default: return true;
  }
}

bool is_tunable(Stage stage) { return sees_keys_of_rows(stage); }

bool sees_keys_of_rows(Stage stage) { return sums_scores(stage) || stage == Stage::select; }

bool sums_scores(Stage stage) { return stage == Stage::prepare || stage == Stage::attend; }

std::string KernelSpec::variants() const {
  const bool rows = sees_keys_of_rows(stage) || stage == Stage::count;
  const bool scores = sums_scores(stage);
  return fmt::format("{}{}{}{}", rows && !causal ? " noncausal" : "", rows && sliding ? " sliding" : "",
                     scores && softcap ? " softcap" : "", scores && sink_logits ? " sinks" : "");
}

std::string KernelSpec::serving() const {
  const bool codes = stage == Stage::quantize || stage == Stage::select;
  return fmt::format("{}{}{}{}", ragged && stage != Stage::merge ? " ragged" : "",
                     page_rows != 0 && reads_keys(stage, estimator) ? fmt::format(" paged{}", page_rows) : "",
                     coded_pages && codes ? " coded" : "", parts && sees_keys_of_rows(stage) ? " parts" : "");
}

std::string KernelSpec::describe() const {
  if (!is_tunable(stage)) {
    return class_name();
  }
  return fmt::format("{} rows {}x{} keys {}x{} ctas {}", class_name(), tile.rows_per_warp, tile.warps,
                     tile.keys_per_step, tile.stages, tile.min_ctas);
}

std::string KernelSpec::class_name() const {
  if (stage == Stage::sequences) {
    return fmt::format("sequences {}", arch.name());
  }
  if (stage == Stage::count) {
    return fmt::format("count {}{}{} q{} k{}", arch.name(), serving(), variants(), block_q, block_k);
  }
  std::string text =
      fmt::format("{} {} {} d{}{}", to_string(stage), arch.name(), to_string(dtype), head_dim, serving());
  if (ignores_policy(stage)) {
    return text;
  }
  if (stage == Stage::attend && v_width() != head_dim) {
    text += fmt::format(" v{}", v_width());
  }
  if (stage != Stage::quantize || estimator == Estimator::int4) {
    text += fmt::format(" gqa{}", gqa);
  }
  if (stage != Stage::attend) {
    text += fmt::format(" {}", to_string(estimator));
  }
  if (stage != Stage::attend && estimator == Estimator::fp8) {
    text += fmt::format(" e{}{}{}", estimate_width(), basis_suffix(basis), prune_queries ? " 2:4" : "");
  }
  if (stage == Stage::quantize || stage == Stage::channels) {
    return text;
  }
  if (stage == Stage::attend) {
    text += fmt::format("{}{}", fp8_attend ? " fp8" : "", second_filter ? " filtered" : "");
  }
  text += variants();
  text += dense ? " dense" : fmt::format(" q{} k{}", block_q, block_k);
  return text;
}

std::string KernelSpec::entry_name() const { return fmt::format("sale_{}", to_string(stage)); }

int KernelSpec::code_row_bytes() const {
  switch (estimator) {
  case Estimator::exact: return 0;
  case Estimator::int8: return head_dim;
  case Estimator::fp8: return estimate_width();
  case Estimator::int4: return arch.has_int4_mma() ? (head_dim / 2 + 31) / 32 * 32 : head_dim;
  }
  return 0;
}

KernelFamily KernelSpec::family() const {
  const bool selects = stage == Stage::select && (estimator == Estimator::fp8 || estimator == Estimator::int8);
  const bool attends = stage == Stage::attend && head_dim % 64 == 0;
  return arch.has_wgmma() && (selects || attends) ? KernelFamily::wgmma : KernelFamily::mma_sync;
}

int KernelSpec::threads() const { return 32 * tile.warps + (family() == KernelFamily::wgmma ? 128 : 0); }

// The smallest blocks that there are: on an H100 larger copies were no faster.
int KernelSpec::keys_per_copy() const { return 32; }

int KernelSpec::keys_per_box() const { return page_rows == 0 ? keys_per_copy() : page_rows; }

int KernelSpec::shared_memory() const { return shared_memory_bytes(*this); }

void validate(const KernelSpec &spec) {
  Problem problem;
  problem.dtype = spec.dtype;
  problem.head_dim = spec.head_dim;
  problem.v_head_dim = spec.v_head_dim;
  problem.num_q_heads = spec.gqa;
  problem.num_kv_heads = 1;
  validate(problem);
  Policy policy;
  policy.estimator = spec.estimator;
  policy.block_q = spec.block_q;
  policy.block_k = spec.block_k;
  policy.estimate_dim = spec.estimate_dim;
  policy.prune_queries = spec.prune_queries;
  validate(policy, problem);

  // What validate(Problem) and validate(Policy) say of values, in terms of their presence.
  if (spec.sliding && !spec.causal) {
    throw Error(ErrorKind::invalid_argument, "a sliding window needs causal attention; no kernel has it without");
  }
  if (spec.fp8_attend && spec.stage == Stage::attend && (spec.softcap || spec.sink_logits)) {
    throw Error(ErrorKind::invalid_argument, "fp8_attend has no kernels with softcap or sink_logits");
  }

  const bool fp8_stage = !ignores_policy(spec.stage) && spec.stage != Stage::attend;
  if (spec.estimator == Estimator::fp8 && fp8_stage && !spec.arch.has_wgmma()) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("the fp8 estimator has kernels for sm_90a only, not for {}; int8 runs everywhere",
                            spec.arch.name()));
  }
  if (spec.stage == Stage::channels && spec.basis != EstimateBasis::channels && !spec.prune_queries) {
    throw Error(ErrorKind::invalid_argument,
                "the channels kernel serves fp8 estimates of fewer channels than head_dim, or pruned ones");
  }
  if (spec.second_filter && spec.stage == Stage::attend && spec.family() != KernelFamily::wgmma) {
    throw Error(
        ErrorKind::invalid_argument,
        fmt::format("second_filter has kernels for sm_90a and head_dim 64, 128, 192 and 256 only, not for {} and {}",
                    spec.arch.name(), spec.head_dim));
  }
  const bool fp8_attends =
      spec.stage == Stage::amax || spec.stage == Stage::values || (spec.fp8_attend && spec.stage == Stage::attend);
  const bool fp8_attend_rows = spec.head_dim == 64 || spec.head_dim == 128 || spec.head_dim == 256;
  if (fp8_attends && (!spec.arch.has_wgmma() || !fp8_attend_rows)) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("fp8_attend has kernels for sm_90a and head_dim 64, 128 and 256 only, not for {} and {}",
                            spec.arch.name(), spec.head_dim));
  }
  if ((spec.stage == Stage::mean || spec.stage == Stage::quantize) && spec.estimator == Estimator::exact) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("the exact estimator has no {} kernel; its stages are prepare, select and attend",
                            to_string(spec.stage)));
  }
  const Tile &tile = spec.tile;
  // Only select keeps so little per row that 64 fit the registers.
  const bool rows_fit =
      tile.rows_per_warp == 16 || tile.rows_per_warp == 32 || (tile.rows_per_warp == 64 && spec.stage == Stage::select);
  if (!rows_fit) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("rows_per_warp {} must be 16 or 32, or 64 for select", tile.rows_per_warp));
  }
  const bool wgmma = spec.family() == KernelFamily::wgmma;
  // select's warpgroups may take several times their 64 rows.
  if (wgmma && ((tile.rows_per_warp != 16 && spec.stage != Stage::select) || tile.warps % 4 != 0)) {
    throw Error(
        ErrorKind::invalid_argument,
        fmt::format("a warpgroup is 4 warps of 16 rows; {} warps of {} rows are none", tile.warps, tile.rows_per_warp));
  }
  const char *keys_rule = "32, 64 or 128";
  bool keys_fit = tile.keys_per_step == 32 || tile.keys_per_step == 64 || tile.keys_per_step == 128;
  if (wgmma && spec.stage == Stage::select) { // which copies the scales of 128 keys at a time
    keys_rule = "128 or 256";
    keys_fit = tile.keys_per_step == 128 || tile.keys_per_step == 256;
  } else if (wgmma) {
    keys_rule = "a multiple of 32 from 32 to 256";
    keys_fit = tile.keys_per_step % 32 == 0 && tile.keys_per_step >= 32 && tile.keys_per_step <= 256;
  }
  if (!keys_fit) {
    throw Error(ErrorKind::invalid_argument, fmt::format("keys_per_step {} must be {}", tile.keys_per_step, keys_rule));
  }
  if (tile.warps < 1 || tile.warps > 16 || tile.stages < 2 || tile.stages > 8 || tile.min_ctas < 1 ||
      tile.min_ctas > 32) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("a tile needs 1 to 16 warps, 2 to 8 stages and 1 to 32 CTAs per SM, not {}, {} and {}",
                            tile.warps, tile.stages, tile.min_ctas));
  }
  // Warpgroups hand each other registers: more CTAs than one would leave too few to ever go on.
  if (wgmma && tile.min_ctas != 1) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("a warpgroup kernel has an SM to itself: min_ctas {} must be 1", tile.min_ctas));
  }
  if (spec.threads() * tile.min_ctas > 2048) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} CTAs of {} threads are more than an SM's 2048 threads", tile.min_ctas, spec.threads()));
  }
  const bool of_units = spec.stage == Stage::attend || (spec.stage == Stage::select && !wgmma);
  if (spec.ragged && of_units && 512 % tile.rows() != 0) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} of ragged batches shares units of 512 rows; {} rows do not divide them",
                            to_string(spec.stage), tile.rows()));
  }
  if (wgmma && spec.stage == Stage::attend && tile.warps != 8 && !(spec.dense && !spec.ragged && tile.warps == 12)) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("attend has two warpgroups that compute, or three where dense and not ragged; {} warps are "
                            "neither",
                            tile.warps));
  }
  if (!rows_fit_blocks(spec)) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} cannot share {} rows of {} warps among query blocks of {} rows", to_string(spec.stage),
                            tile.rows(), tile.warps, spec.block_q));
  }
  const int shared = spec.shared_memory();
  if (shared > spec.arch.max_shared_memory()) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} needs {} bytes of shared memory, {} has {}; choose fewer rows, keys or stages",
                            spec.describe(), shared, spec.arch.name(), spec.arch.max_shared_memory()));
  }
}

} // namespace sale
