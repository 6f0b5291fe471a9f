// SPDX-License-Identifier: Apache-2.0
#include "c_api/error.hpp"
#include "c_api/handles.hpp"
#include "c_api/structs.hpp"
#include "c_api/to_cpp.hpp"

using namespace sale;
using namespace sale::c_api;

namespace {

template <class Args, class Run>
sale_status run_with(const sale_plan *plan, const Args *args, const Run &run) noexcept {
  return guarded([&] {
    require(plan, "plan");
    require(args, "args");
    run(plan->plan, to_cpp(read(args)));
  });
}

Shape shape_of(const sale_plan *plan, const sale_shape *shape, const void *result) {
  require(plan, "plan");
  require(shape, "shape");
  require(result, "result");
  return to_cpp(read(shape));
}

} // namespace

sale_tensor sale_packed_tensor(void *data, int heads, int tokens, int head_dim) {
  const TensorView view = packed_view(data, heads, tokens, head_dim);
  return {view.data, view.stride_batch, view.stride_head, view.stride_token};
}

sale_status sale_plan_retain(const sale_plan *plan, sale_plan **copy) {
  return guarded([&] {
    require(plan, "plan");
    require(static_cast<const void *>(copy), "copy");
    *copy = new sale_plan(*plan);
  });
}

void sale_plan_release(sale_plan *plan) { delete plan; }

sale_status sale_plan_workspace_bytes(const sale_plan *plan, const sale_shape *shape, size_t *bytes) {
  return guarded([&] {
    const Shape of = shape_of(plan, shape, bytes);
    *bytes = plan->plan.workspace_bytes(of);
  });
}

sale_status sale_plan_code_cache_bytes(const sale_plan *plan, int64_t num_pages, size_t *bytes) {
  return guarded([&] {
    require(plan, "plan");
    require(bytes, "bytes");
    *bytes = plan->plan.code_cache_bytes(num_pages);
  });
}

sale_status sale_plan_mask_words(const sale_plan *plan, const sale_shape *shape, size_t *words) {
  return guarded([&] {
    const Shape of = shape_of(plan, shape, words);
    validate(of, plan->plan.problem(), plan->plan.serving());
    *words = mask_words(plan->plan.problem(), plan->plan.policy(), of);
  });
}

sale_status sale_plan_run(const sale_plan *plan, const sale_run_args *args, struct CUstream_st *stream) {
  return run_with(plan, args, [&](const Plan &of, const RunArgs &with) { of.run(with, stream); });
}

sale_status sale_plan_run_dense(const sale_plan *plan, const sale_run_args *args, struct CUstream_st *stream) {
  return run_with(plan, args, [&](const Plan &of, const RunArgs &with) { of.run_dense(with, stream); });
}

sale_status sale_plan_select(const sale_plan *plan, const sale_run_args *args, struct CUstream_st *stream) {
  return run_with(plan, args, [&](const Plan &of, const RunArgs &with) { of.select(with, stream); });
}

sale_status sale_plan_merge(const sale_plan *plan, const sale_merge_args *args, struct CUstream_st *stream) {
  return run_with(plan, args, [&](const Plan &of, const MergeArgs &with) { of.merge(with, stream); });
}

sale_status sale_plan_profile(const sale_plan *plan, const sale_run_args *args, struct CUstream_st *stream,
                              sale_stage_times *times) {
  return run_with(plan, args, [&](const Plan &of, const RunArgs &with) {
    require(times, "times");
    require_size(*times);
    write(to_c(of.profile(with, stream)), times);
  });
}

sale_status sale_plan_profile_select(const sale_plan *plan, const sale_run_args *args, struct CUstream_st *stream,
                                     sale_stage_times *times) {
  return run_with(plan, args, [&](const Plan &of, const RunArgs &with) {
    require(times, "times");
    require_size(*times);
    write(to_c(of.profile_select(with, stream)), times);
  });
}

sale_status sale_plan_get_counters(const sale_plan *plan, sale_plan_counters *counters) {
  return guarded([&] {
    require(plan, "plan");
    require(counters, "counters");
    write(to_c(plan->plan.counters()), counters);
  });
}

size_t sale_plan_kernel_count(const sale_plan *plan) { return plan == nullptr ? 0 : plan->plan.kernels().size(); }

sale_status sale_plan_kernel(const sale_plan *plan, size_t index, sale_kernel_info *kernel) {
  return guarded([&] {
    require(plan, "plan");
    write_kernel(plan->plan.kernels(), index, kernel);
  });
}
