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
  case Stage::mean: return true;
  case Stage::quantize: return spec.tile.warps == 4;
  case Stage::prepare: return rows == spec.block_q && spec.tile.warps <= 8;
  case Stage::select: return rows % spec.block_q == 0 && spec.block_q % spec.tile.rows_per_warp == 0;
  case Stage::attend: return spec.dense || rows == spec.block_q || rows == 2 * spec.block_q || spec.block_q % rows == 0;
  }
  return false;
}

constexpr std::array stages = {Stage::mean, Stage::quantize, Stage::prepare, Stage::select, Stage::attend};

} // namespace

const char *to_string(Stage stage) {
  switch (stage) {
  case Stage::mean: return "mean";
  case Stage::quantize: return "quantize";
  case Stage::prepare: return "prepare";
  case Stage::select: return "select";
  case Stage::attend: return "attend";
  }
  return "unknown";
}

Stage parse_stage(std::string_view name) {
  for (const Stage stage : stages) {
    if (name == to_string(stage)) {
      return stage;
    }
  }
  throw Error(ErrorKind::invalid_argument,
              fmt::format("stage '{}' is not known; stages are mean, quantize, prepare, select and attend", name));
}

std::string KernelSpec::describe() const {
  std::string text = fmt::format("{} {} {} d{}", to_string(stage), arch.name(), to_string(dtype), head_dim);
  if (stage == Stage::mean) {
    return text;
  }
  if (stage != Stage::quantize || estimator == Estimator::int4) {
    text += fmt::format(" gqa{}", gqa);
  }
  if (stage != Stage::attend) {
    text += fmt::format(" {}", to_string(estimator));
  }
  if (stage == Stage::quantize) {
    return text;
  }
  text += dense ? " dense" : fmt::format(" q{} k{}", block_q, block_k);
  text += fmt::format(" rows {}x{} keys {}x{} ctas {}", tile.rows_per_warp, tile.warps, tile.keys_per_step, tile.stages,
                      tile.min_ctas);
  return text;
}

std::string KernelSpec::entry_name() const { return fmt::format("sale_{}", to_string(stage)); }

int KernelSpec::code_row_bytes() const {
  switch (estimator) {
  case Estimator::exact: return 0;
  case Estimator::int8: return head_dim;
  case Estimator::int4: return arch.has_int4_mma() ? (head_dim / 2 + 31) / 32 * 32 : head_dim;
  }
  return 0;
}

int KernelSpec::shared_memory() const { return shared_memory_bytes(*this); }

void validate(const KernelSpec &spec) {
  Problem problem;
  problem.dtype = spec.dtype;
  problem.head_dim = spec.head_dim;
  problem.num_q_heads = spec.gqa;
  problem.num_kv_heads = 1;
  validate(problem);
  Policy policy;
  policy.estimator = spec.estimator;
  policy.block_q = spec.block_q;
  policy.block_k = spec.block_k;
  validate(policy, problem);

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
  if (tile.keys_per_step != 32 && tile.keys_per_step != 64 && tile.keys_per_step != 128) {
    throw Error(ErrorKind::invalid_argument, fmt::format("keys_per_step {} must be 32, 64 or 128", tile.keys_per_step));
  }
  if (tile.warps < 1 || tile.warps > 16 || tile.stages < 2 || tile.stages > 8 || tile.min_ctas < 1) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("a tile needs 1 to 16 warps, 2 to 8 stages and at least 1 CTA per SM, not {}, {} and {}",
                            tile.warps, tile.stages, tile.min_ctas));
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
