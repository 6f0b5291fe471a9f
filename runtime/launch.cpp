// SPDX-License-Identifier: Apache-2.0
#include "runtime/launch.hpp"

#include "args/merge_args.cuh"
#include "runtime/call.hpp"

namespace sale {

void Call::zero_counters() {
  const bool smooths = plan_.policy.estimator != Estimator::exact || plan_.policy.fp8_attend;
  const bool of_means = plan_.policy.estimator == Estimator::int4 || (smooths && means_keys());
  const bool persistent =
      plan_.select.spec().family() == KernelFamily::wgmma || plan_.attend.spec().family() == KernelFamily::wgmma;
  if (!of_means && !persistent) {
    return;
  }
  counts_ = true;
  const Driver &driver = plan_.device->driver();
  driver.check(driver.api.fill_words(reinterpret_cast<cu::Address>(at<void>(layout_.counters)), 0,
                                     layout_.counters.bytes / 4, stream_),
               "cuMemsetD32Async");
}

void launch_kernel(const Device &device, const Kernel &kernel, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   void *arguments, cu::Stream stream) {
  const Driver &driver = device.driver();
  void *parameters[] = {arguments};
  const cu::Result result = driver.api.launch(kernel.module->function(), grid_x, grid_y, grid_z, kernel.threads, 1, 1,
                                              kernel.shared_memory, stream, parameters, nullptr);
  if (result != cu::success) {
    driver.check(result, "cuLaunchKernel", ErrorKind::launch,
                 {.options = kernel.options, .spec = kernel.spec.describe()});
  }
}

void enqueue_merge(const PlanKernels &plan, const MergeArgs &args, cu::Stream stream) {
  const auto tensor_arg = [](const TensorView &view) {
    return TensorArg{view.data, view.stride_batch, view.stride_head, view.stride_token};
  };
  const Extents rows = query_extents(plan.problem, args.shape);
  MergeRowsArgs a{};
  a.out_a = tensor_arg(args.out_a);
  a.out_b = tensor_arg(args.out_b);
  a.out = tensor_arg(args.out);
  a.lse_a = args.lse_a;
  a.lse_b = args.lse_b;
  a.lse = args.lse;
  a.num_q_heads = rows.heads;
  a.q_len = rows.tokens;
  launch_kernel(*plan.device, plan.merge, static_cast<unsigned>((rows.tokens + merge_rows - 1) / merge_rows),
                static_cast<unsigned>(rows.heads), static_cast<unsigned>(rows.batch), &a, stream);
}

bool falls_back(const PlanKernels &plan, const RunArgs &args) {
  return args.shape.kv_len < plan.policy.dense_below && args.mask_in == nullptr;
}

void enqueue(const PlanKernels &plan, const RunArgs &args, cu::Stream stream, RunMode mode, Timeline *timeline) {
  Call call(plan, args, stream, timeline);
  const bool counted = plan.count.module != nullptr && mode != RunMode::select;
  if (counted) {
    call.begin_count();
  }
  const bool dense = mode == RunMode::dense || falls_back(plan, args);
  const bool selected = !dense && args.mask_in == nullptr;
  // A dense call and one with its own mask may come without a workspace. All items of a dense one are known
  // beforehand; those of a mask are drawn where a counter can be.
  const bool draws = plan.attend.spec().family() == KernelFamily::wgmma && args.workspace != nullptr &&
                     args.workspace_bytes >= call.workspace_bytes();
  const bool writes_mask = dense && args.mask_out != nullptr;
  const bool draws_select = writes_mask && plan.select.spec().family() == KernelFamily::wgmma;
  const bool ragged = plan.serving.is_ragged(); // whose work is not known beforehand
  if (selected || draws_select || plan.policy.fp8_attend || ragged || (args.mask_in != nullptr && draws)) {
    call.zero_counters();
  }
  if (ragged) {
    call.sequences();
  }
  if (selected) {
    call.select_blocks();
  } else if (writes_mask) {
    call.keep_all();
  }
  if (mode == RunMode::select) {
    return;
  }
  call.encode(selected);
  const std::uint32_t *mask = dense ? nullptr : selected ? call.mask() : args.mask_in;
  const Kernel &attend =
      dense ? plan.attend_dense.at(args.shape.kv_len, 1) : plan.attend.at(args.shape.kv_len, args.expected_density);
  call.attend(attend, mask, selected);
  if (counted) {
    call.end_count(mask);
  }
}

} // namespace sale
