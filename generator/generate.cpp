// SPDX-License-Identifier: Apache-2.0
#include "generator/generate.hpp"

#include "generator/template_source.hpp"
#include "generator/wgmma_shapes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace sale {

namespace {

// Where a stage's template lies and what its parts are called.
struct StageTemplate {
  const char *path;
  const char *function;
  const char *args;
  const char *layout;
};

StageTemplate template_of(const KernelSpec &spec) {
  const bool wgmma = spec.family() == KernelFamily::wgmma;
  switch (spec.stage) {
  case Stage::sequences: return {"sequences/sequences.cuh", "sequences", "SequencesArgs", "SequencesLayout"};
  case Stage::channels: return {"channels/channels.cuh", "channels", "ChannelsArgs", "ChannelsLayout"};
  case Stage::mean: return {"mean/mean.cuh", "mean", "MeanArgs", "MeanLayout"};
  case Stage::quantize: return {"quantize/quantize.cuh", "quantize", "QuantizeArgs", "QuantizeLayout"};
  case Stage::amax: return {"amax/amax.cuh", "amax", "AmaxArgs", "AmaxLayout"};
  case Stage::values: return {"values/values.cuh", "values", "ValuesArgs", "ValuesLayout"};
  case Stage::prepare: return {"prepare/prepare_mma_sync.cuh", "prepare", "PrepareArgs", "PrepareLayout"};
  case Stage::select:
    return wgmma ? StageTemplate{"select/select_wgmma.cuh", "select", "SelectWgmmaArgs", "SelectLayout"}
                 : StageTemplate{"select/select_mma_sync.cuh", "select", "SelectArgs", "SelectLayout"};
  case Stage::tails: return {"tails/tails.cuh", "tails", "TailsArgs", "TailsLayout"};
  case Stage::count: return {"count/count.cuh", "count", "CountArgs", "CountLayout"};
  case Stage::merge: return {"merge/merge.cuh", "merge", "MergeRowsArgs", "MergeLayout"};
  case Stage::attend:
    if (spec.fp8_attend) {
      return {"attend/attend_fp8.cuh", "attend_fp8", "AttendWgmmaArgs", "AttendLayout"};
    }
    return wgmma ? StageTemplate{"attend/attend_wgmma.cuh", "attend", "AttendWgmmaArgs", "AttendLayout"}
                 : StageTemplate{"attend/attend_mma_sync.cuh", "attend", "AttendArgs", "AttendLayout"};
  }
  return {};
}

const char *operand_name(const KernelSpec &spec) {
  switch (spec.estimator) {
  case Estimator::exact: return spec.dtype == DType::bf16 ? "Bf16" : "F16";
  case Estimator::int8: return "Signed8";
  case Estimator::fp8: return "E4m3";
  case Estimator::int4: return spec.arch.has_int4_mma() ? "Signed4" : "Signed8";
  }
  return "";
}

// Only the constants that the stage reads, so that specs which differ elsewhere give the same source.
std::string config_text(const KernelSpec &spec) {
  std::string text = "struct Config {\n";
  const auto constant = [&](const char *name, int value) {
    text += fmt::format("  static constexpr int {} = {};\n", name, value);
  };
  const auto flag = [&](const char *name, bool value) {
    text += fmt::format("  static constexpr bool {} = {};\n", name, value);
  };
  if (spec.stage == Stage::sequences) {
    constant("threads", spec.threads());
    return text + "};\n";
  }
  if (spec.stage == Stage::count) {
    constant("block_q", spec.block_q);
    constant("block_k", spec.block_k);
    flag("causal", spec.causal);
    flag("sliding", spec.sliding);
    flag("ragged", spec.ragged);
    constant("warps", spec.tile.warps);
    constant("threads", spec.threads());
    return text + "};\n";
  }
  if (spec.stage != Stage::select) { // which reads codes, or 16-bit keys as its operand
    text += fmt::format("  using Element = {};\n", spec.dtype == DType::bf16 ? "Bf16" : "F16");
    constant("head_dim", spec.head_dim);
  }
  const bool plain = ignores_policy(spec.stage);
  const bool estimates = !plain && spec.stage != Stage::attend;
  if (estimates && spec.stage != Stage::channels) {
    text += fmt::format("  using Operand = {};\n", operand_name(spec));
    text += fmt::format("  static constexpr Estimator estimator = Estimator::{};\n", to_string(spec.estimator));
    constant("code_row_bytes", spec.estimator == Estimator::exact ? 2 * spec.head_dim : spec.code_row_bytes());
  }
  if (estimates && spec.estimator == Estimator::fp8) {
    constant("estimate_dim", spec.estimate_width());
    flag("gathered", spec.basis == EstimateBasis::channels);
    flag("projected", spec.basis == EstimateBasis::projection);
    flag("pruned", spec.prune_queries);
  }
  if (spec.stage == Stage::quantize) {
    // Only int4's bias depends on the query heads.
    constant("gqa", spec.estimator == Estimator::int4 ? spec.gqa : 1);
  } else if (!plain) {
    constant("gqa", spec.gqa);
    // The dense kernel reads no mask: its blocks are its own tiles.
    constant("block_q", spec.dense ? spec.tile.rows() : spec.block_q);
    constant("block_k", spec.dense ? spec.tile.keys_per_step : spec.block_k);
  }
  if (sees_keys_of_rows(spec.stage)) {
    flag("causal", spec.causal);
    flag("sliding", spec.sliding);
  }
  if (spec.stage != Stage::merge) {
    flag("ragged", spec.ragged);
  }
  if (reads_keys(spec.stage, spec.estimator)) {
    flag("paged", spec.page_rows != 0);
    constant("page_rows", spec.page_rows);
  }
  if (spec.stage == Stage::quantize || spec.stage == Stage::select) {
    flag("coded_pages", spec.coded_pages);
  }
  if (sees_keys_of_rows(spec.stage)) {
    flag("parts", spec.parts);
  }
  if (sums_scores(spec.stage)) {
    flag("softcap", spec.softcap);
    flag("sink_logits", spec.sink_logits);
  }
  const bool wgmma = spec.family() == KernelFamily::wgmma;
  if (spec.stage == Stage::attend) {
    constant("v_head_dim", spec.v_width());
    flag("dense", spec.dense);
    if (wgmma) {
      flag("fp8", spec.fp8_attend);
      flag("filtered", spec.second_filter);
      constant("keys_per_copy", spec.keys_per_copy());
    }
  }
  if (sees_keys_of_rows(spec.stage)) {
    if (!wgmma) {
      constant("rows_per_warp", spec.tile.rows_per_warp);
    }
    constant("keys_per_step", spec.tile.keys_per_step);
    constant("stages", spec.tile.stages);
  }
  if (wgmma) {
    constant("consumers", spec.tile.warps / 4);
    if (spec.stage == Stage::select) {
      constant("units", spec.tile.rows_per_warp / 16);
      if (spec.estimator != Estimator::fp8) { // which says so above
        flag("pruned", false);
      }
    }
  } else {
    constant("warps", spec.tile.warps);
  }
  constant("threads", spec.threads());
  text += "};\n";
  return text;
}

// After the templates' code: what follows has its own line number in the generated source again.
void resume_numbering(std::string &source, const KernelSpec &spec) {
  const auto lines = std::count(source.begin(), source.end(), '\n');
  source += line_directive(static_cast<int>(lines) + 2, spec.entry_name() + ".cu");
}

} // namespace

std::string generate(const KernelSpec &spec) {
  validate(spec);
  const StageTemplate parts = template_of(spec);
  std::set<std::string, std::less<>> seen;
  std::string source = fmt::format("// {}, written by libsale.\n{}\n", spec.describe(), license_line);
  source += flatten_template("common/estimator.cuh", seen);
  source += '\n';
  resume_numbering(source, spec);
  source += "struct Bf16;\nstruct F16;\nstruct Signed8;\nstruct Signed4;\nstruct E4m3;\n\n";
  source += config_text(spec);
  source += flatten_template(parts.path, seen);
  source += '\n';
  resume_numbering(source, spec);
  for (const WgmmaShape &shape : wgmma_shapes(spec)) {
    source += wgmma_source(shape);
    source += '\n';
  }
  source +=
      fmt::format("static_assert({}<Config>::shared_bytes == {}, \"the host launches with this much dynamic shared "
                  "memory\");\n\n",
                  parts.layout, spec.shared_memory());
  // Tensor maps must be read where the launch put them.
  const bool wgmma = spec.family() == KernelFamily::wgmma;
  const std::string head =
      fmt::format("SALE_KERNEL void SALE_LAUNCH_BOUNDS(Config::threads, {}) {}({}const {} args) {{", spec.tile.min_ctas,
                  spec.entry_name(), wgmma ? "SALE_GRID_CONSTANT " : "", parts.args);
  const std::string body = fmt::format("{}<Config>(args);", parts.function);
  // On one line where clang-format would put it there.
  const bool short_enough = head.size() + body.size() + 3 <= 120;
  source += short_enough ? fmt::format("{} {} }}\n", head, body) : fmt::format("{}\n  {}\n}}\n", head, body);
  return source;
}

} // namespace sale
