// SPDX-License-Identifier: Apache-2.0
#include "c_api/structs.hpp"

#include "sale/background_tuning.hpp"
#include "sale/sale.hpp"
#include "sale/tuning.hpp"

namespace sale::c_api {

namespace {

template <class T>
T zeroed() {
  T value{};
  value.struct_size = sizeof(T);
  return value;
}

} // namespace

template <>
sale_problem defaults() {
  const Problem from;
  auto to = zeroed<sale_problem>();
  to.dtype = from.dtype == DType::bf16 ? SALE_BF16 : SALE_F16;
  to.head_dim = from.head_dim;
  to.v_head_dim = from.v_head_dim;
  to.num_q_heads = from.num_q_heads;
  to.num_kv_heads = from.num_kv_heads;
  to.causal = from.causal ? 1 : 0;
  to.softmax_scale = from.softmax_scale;
  to.sliding_window = from.sliding_window;
  to.softcap = from.softcap;
  to.sink_logits = from.sink_logits ? 1 : 0;
  return to;
}

template <>
sale_policy defaults() {
  const Policy from;
  auto to = zeroed<sale_policy>();
  to.estimator = static_cast<int>(from.estimator);
  to.block_q = from.block_q;
  to.block_k = from.block_k;
  to.sink = from.sink;
  to.window = from.window;
  to.tau = from.tau;
  to.estimate_dim = from.estimate_dim;
  to.prune_queries = from.prune_queries ? 1 : 0;
  to.fp8_attend = from.fp8_attend ? 1 : 0;
  to.second_filter = from.second_filter ? 1 : 0;
  to.dense_below = from.dense_below;
  return to;
}

template <>
sale_serving defaults() {
  return zeroed<sale_serving>(); // all off, as in Serving
}

template <>
sale_shape defaults() {
  auto to = zeroed<sale_shape>();
  to.batch = Shape().batch;
  return to;
}

template <>
sale_options defaults() {
  const Options from;
  auto to = zeroed<sale_options>();
  to.use_disk_cache = from.use_disk_cache ? 1 : 0;
  to.cache_max_bytes = from.cache_max_bytes;
  to.cache_max_files = from.cache_max_files;
  to.frozen = from.frozen ? 1 : 0;
  to.jobs = from.jobs;
  to.compile_seconds = from.compile_seconds;
  to.lock_seconds = from.lock_seconds;
  return to;
}

template <>
sale_run_args defaults() {
  auto to = zeroed<sale_run_args>();
  to.batch = Shape().batch;
  return to;
}

template <>
sale_merge_args defaults() {
  auto to = zeroed<sale_merge_args>();
  to.batch = Shape().batch;
  return to;
}

template <>
sale_tuning_layers defaults() {
  auto to = zeroed<sale_tuning_layers>();
  to.shipped = TuningLayers().shipped ? 1 : 0;
  return to;
}

template <>
sale_background_tuning_options defaults() {
  const BackgroundTuningOptions from;
  auto to = zeroed<sale_background_tuning_options>();
  to.budget_seconds = from.budget_seconds;
  to.device = from.device;
  to.niceness = from.niceness;
  return to;
}

namespace {

// A struct_size that no version had is left for the call that is given the struct: it says so.
template <class T>
void init(T *to, std::size_t struct_size) noexcept {
  if (to == nullptr || struct_size < sizeof(std::size_t)) {
    return;
  }
  std::memset(static_cast<void *>(to), 0, struct_size);
  T value = defaults<T>();
  value.struct_size = struct_size;
  std::memcpy(static_cast<void *>(to), &value, std::min(struct_size, sizeof(T)));
}

} // namespace

} // namespace sale::c_api

using sale::c_api::init;

void sale_problem_init(sale_problem *problem, size_t struct_size) { init(problem, struct_size); }
void sale_policy_init(sale_policy *policy, size_t struct_size) { init(policy, struct_size); }
void sale_serving_init(sale_serving *serving, size_t struct_size) { init(serving, struct_size); }
void sale_shape_init(sale_shape *shape, size_t struct_size) { init(shape, struct_size); }
void sale_options_init(sale_options *options, size_t struct_size) { init(options, struct_size); }
void sale_run_args_init(sale_run_args *args, size_t struct_size) { init(args, struct_size); }
void sale_merge_args_init(sale_merge_args *args, size_t struct_size) { init(args, struct_size); }
void sale_tuning_layers_init(sale_tuning_layers *layers, size_t struct_size) { init(layers, struct_size); }
void sale_background_tuning_options_init(sale_background_tuning_options *options, size_t struct_size) {
  init(options, struct_size);
}
