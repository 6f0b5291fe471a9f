// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernel_memo.hpp"

#include <initializer_list>
#include <mutex>
#include <utility>

namespace sale {

// Of the fields that tell most kernels apart; all of them are compared.
std::size_t KernelMemo::Hash::operator()(const KernelRequest &request) const noexcept {
  const KernelSpec &spec = request.spec;
  std::size_t hash = 0;
  for (const int value :
       {static_cast<int>(request.kind), static_cast<int>(spec.stage), spec.arch.major, spec.arch.minor,
        static_cast<int>(spec.dtype), spec.head_dim, spec.gqa, static_cast<int>(spec.estimator), spec.block_q,
        spec.block_k, static_cast<int>(spec.dense), spec.estimate_dim, static_cast<int>(spec.ragged), spec.page_rows,
        spec.tile.rows_per_warp, spec.tile.warps, spec.tile.keys_per_step, spec.tile.stages}) {
    hash = hash * 1000003 + static_cast<std::size_t>(value);
  }
  return hash;
}

std::optional<BuiltKernel> KernelMemo::find(const KernelRequest &request) const {
  const std::shared_lock lock(mutex_);
  const auto found = kernels_.find(request);
  return found == kernels_.end() ? std::nullopt : std::optional(found->second);
}

void KernelMemo::insert(const KernelRequest &request, BuiltKernel kernel) {
  const std::scoped_lock lock(mutex_);
  kernels_.insert_or_assign(request, std::move(kernel));
}

} // namespace sale
