// SPDX-License-Identifier: Apache-2.0
#include "autotune/space/kernel_numbers.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sale::autotune {

namespace {

using Spec = const KernelSpec &;

std::int64_t query_row_bytes(Spec spec) {
  return spec.prune_queries ? spec.code_row_bytes() / 2 : spec.code_row_bytes();
}

// Of a thread, for a wgmma unit of select: 64 rows by a step's keys; fp8 sums are 16-bit.
std::int64_t sum_registers(Spec spec) { return spec.tile.keys_per_step / (spec.estimator == Estimator::fp8 ? 4 : 2); }

} // namespace

const std::vector<KernelNumber> &kernel_numbers() {
  static const std::vector<KernelNumber> numbers = {
      {"rows_per_warp", false, [](Spec s) -> std::int64_t { return s.tile.rows_per_warp; }},
      {"warps", false, [](Spec s) -> std::int64_t { return s.tile.warps; }},
      {"keys_per_step", false, [](Spec s) -> std::int64_t { return s.tile.keys_per_step; }},
      {"stages", false, [](Spec s) -> std::int64_t { return s.tile.stages; }},
      {"min_ctas", false, [](Spec s) -> std::int64_t { return s.tile.min_ctas; }},
      {"rows", false, [](Spec s) -> std::int64_t { return s.tile.rows(); }},
      {"threads", false, [](Spec s) -> std::int64_t { return s.threads(); }},
      {"shared_memory", false, [](Spec s) -> std::int64_t { return s.shared_memory(); }},
      {"max_shared_memory", false, [](Spec s) -> std::int64_t { return s.arch.max_shared_memory(); }},
      {"registers", false, [](Spec s) -> std::int64_t { return register_budget(s); }},
      {"default_keys_per_step", false, [](Spec s) -> std::int64_t { return default_tile(s).keys_per_step; }},
      {"head_dim", false, [](Spec s) -> std::int64_t { return s.head_dim; }},
      {"v_head_dim", false, [](Spec s) -> std::int64_t { return s.v_width(); }},
      {"gqa", false, [](Spec s) -> std::int64_t { return s.gqa; }},
      {"block_q", false, [](Spec s) -> std::int64_t { return s.block_q; }},
      {"block_k", false, [](Spec s) -> std::int64_t { return s.block_k; }},
      {"code_row_bytes", false, [](Spec s) -> std::int64_t { return s.code_row_bytes(); }},
      {"query_row_bytes", false, query_row_bytes},
      {"sum_registers", false, sum_registers},
      {"compute_capability", false, [](Spec s) -> std::int64_t { return 10 * s.arch.major + s.arch.minor; }},
      {"exact", true, [](Spec s) -> std::int64_t { return s.estimator == Estimator::exact ? 1 : 0; }},
      {"int8", true, [](Spec s) -> std::int64_t { return s.estimator == Estimator::int8 ? 1 : 0; }},
      {"int4", true, [](Spec s) -> std::int64_t { return s.estimator == Estimator::int4 ? 1 : 0; }},
      {"fp8", true, [](Spec s) -> std::int64_t { return s.estimator == Estimator::fp8 ? 1 : 0; }},
      {"projection", true, [](Spec s) -> std::int64_t { return s.basis == EstimateBasis::projection ? 1 : 0; }},
      {"prune_queries", true, [](Spec s) -> std::int64_t { return s.prune_queries ? 1 : 0; }},
      {"dense", true, [](Spec s) -> std::int64_t { return s.dense ? 1 : 0; }},
      {"fp8_attend", true, [](Spec s) -> std::int64_t { return s.fp8_attend ? 1 : 0; }},
      {"second_filter", true, [](Spec s) -> std::int64_t { return s.second_filter ? 1 : 0; }},
      {"causal", true, [](Spec s) -> std::int64_t { return s.causal ? 1 : 0; }},
      {"sliding", true, [](Spec s) -> std::int64_t { return s.sliding ? 1 : 0; }},
      {"softcap", true, [](Spec s) -> std::int64_t { return s.softcap ? 1 : 0; }},
      {"sink_logits", true, [](Spec s) -> std::int64_t { return s.sink_logits ? 1 : 0; }},
      {"ragged", true, [](Spec s) -> std::int64_t { return s.ragged ? 1 : 0; }},
      {"paged", true, [](Spec s) -> std::int64_t { return s.page_rows != 0 ? 1 : 0; }},
      {"parts", true, [](Spec s) -> std::int64_t { return s.parts ? 1 : 0; }},
  };
  return numbers;
}

std::optional<std::size_t> find_kernel_number(std::string_view name) {
  const std::vector<KernelNumber> &numbers = kernel_numbers();
  const auto found =
      std::find_if(numbers.begin(), numbers.end(), [&](const KernelNumber &number) { return number.name == name; });
  if (found == numbers.end()) {
    return std::nullopt;
  }
  return static_cast<std::size_t>(found - numbers.begin());
}

int register_budget(const KernelSpec &spec) {
  if (spec.family() == KernelFamily::wgmma) { // as the templates hand them out (setmaxnreg)
    return spec.tile.warps <= 8 ? 232 : (spec.tile.warps <= 12 ? 160 : 112);
  }
  const int threads = std::max(1, spec.threads() * spec.tile.min_ctas);
  return std::min(255, 65536 / threads / 8 * 8);
}

KernelFamily parse_family(std::string_view name) {
  for (const KernelFamily family : {KernelFamily::mma_sync, KernelFamily::wgmma}) {
    if (name == to_string(family)) {
      return family;
    }
  }
  throw Error(ErrorKind::invalid_argument,
              fmt::format("family '{}' is not known; families are mma_sync and wgmma", name));
}

const char *to_string(KernelFamily family) { return family == KernelFamily::wgmma ? "wgmma" : "mma_sync"; }

} // namespace sale::autotune
