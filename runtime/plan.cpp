// SPDX-License-Identifier: Apache-2.0
#include "runtime/capture.hpp"
#include "runtime/extents.hpp"
#include "runtime/plan_state.hpp"
#include "runtime/tensor_maps.hpp"
#include "runtime/workspace.hpp"

#include <utility>

namespace sale {

namespace {

std::size_t needed_workspace(const PlanKernels &kernels, const Shape &shape) {
  return workspace_layout(kernels.problem, kernels.policy, shape, kernels.code_row_bytes, kernels.serving).total;
}

// False when the call has no work. The shape is checked before sizes are formed from it.
bool accept(const PlanKernels &kernels, const RunArgs &args, RunMode mode) {
  const Problem &problem = kernels.problem;
  validate(args.shape, problem, kernels.serving);
  validate(args, problem, kernels.policy, needed_workspace(kernels, args.shape), mode, kernels.serving);
  const bool has_work = args.shape.batch > 0 && args.shape.q_len > 0;
  if (has_work && mode != RunMode::select && kernels.attend.spec().family() == KernelFamily::wgmma) {
    const Extents queries = query_extents(problem, args.shape);
    const Extents keys = key_extents(problem, kernels.serving, args);
    require_mappable("q", args.q, queries.batch, queries.heads, queries.tokens);
    require_mappable("k", args.k, keys.batch, keys.heads, keys.tokens);
    require_mappable("v", args.v, keys.batch, keys.heads, keys.tokens);
  }
  return has_work;
}

// With events around each stage; `call` is for the sentence that refuses it.
StageTimes profiled(const PlanKernels &kernels, const RunArgs &args, cu::Stream stream, RunMode mode,
                    const char *call) {
  if (!accept(kernels, args, mode)) {
    return {};
  }
  const CurrentContext scope(*kernels.device);
  const Driver &driver = kernels.device->driver();
  require_no_capture(driver, stream, call);
  Timeline timeline(driver, stream);
  enqueue(kernels, args, stream, mode, &timeline);
  return timeline.times();
}

} // namespace

Plan::Plan(std::shared_ptr<const State> state) : state_(std::move(state)) {}

std::size_t Plan::workspace_bytes(const Shape &shape) const {
  validate(shape, state_->kernels.problem, state_->kernels.serving);
  return needed_workspace(state_->kernels, shape);
}

std::size_t Plan::code_cache_bytes(std::int64_t num_pages) const {
  const PlanKernels &kernels = state_->kernels;
  if (!kernels.serving.code_cache) {
    return 0;
  }
  return code_cache_layout(kernels.problem, kernels.serving, num_pages, kernels.code_row_bytes).total;
}

void Plan::run(const RunArgs &args, CUstream_st *stream) const {
  const PlanKernels &kernels = state_->kernels;
  if (accept(kernels, args, RunMode::sparse)) {
    const CurrentContext scope(*kernels.device);
    enqueue(kernels, args, stream, RunMode::sparse, nullptr);
    ++kernels.calls.runs;
    kernels.calls.given_masks += args.mask_in != nullptr ? 1 : 0;
    kernels.calls.fallbacks += falls_back(kernels, args) ? 1 : 0;
  }
}

void Plan::run_dense(const RunArgs &args, CUstream_st *stream) const {
  if (accept(state_->kernels, args, RunMode::dense)) {
    const CurrentContext scope(*state_->kernels.device);
    enqueue(state_->kernels, args, stream, RunMode::dense, nullptr);
    ++state_->kernels.calls.dense_runs;
  }
}

void Plan::select(const RunArgs &args, CUstream_st *stream) const {
  if (accept(state_->kernels, args, RunMode::select)) {
    const CurrentContext scope(*state_->kernels.device);
    enqueue(state_->kernels, args, stream, RunMode::select, nullptr);
    ++state_->kernels.calls.selects;
  }
}

void Plan::merge(const MergeArgs &args, CUstream_st *stream) const {
  const PlanKernels &kernels = state_->kernels;
  validate(args, kernels.problem, kernels.serving);
  if (args.shape.batch > 0 && args.shape.q_len > 0) {
    const CurrentContext scope(*kernels.device);
    enqueue_merge(kernels, args, stream);
    ++kernels.calls.merges;
  }
}

StageTimes Plan::profile(const RunArgs &args, CUstream_st *stream) const {
  return profiled(state_->kernels, args, stream, RunMode::sparse, "Plan::profile");
}

StageTimes Plan::profile_select(const RunArgs &args, CUstream_st *stream) const {
  return profiled(state_->kernels, args, stream, RunMode::select, "Plan::profile_select");
}

PlanCounters Plan::counters() const { return counters_of(state_->kernels.calls, state_->kernels.totals.get()); }

const Problem &Plan::problem() const { return state_->kernels.problem; }
const Policy &Plan::policy() const { return state_->kernels.policy; }
const Serving &Plan::serving() const { return state_->kernels.serving; }
const std::vector<KernelInfo> &Plan::kernels() const { return state_->infos; }

} // namespace sale
