// SPDX-License-Identifier: Apache-2.0
#include "runtime/launch.hpp"

#include "runtime/call.hpp"

namespace sale {

void Call::zero_counters() {
  const bool smooths = plan_.policy.estimator != Estimator::exact || plan_.policy.fp8_attend;
  const bool of_means = plan_.policy.estimator == Estimator::int4 || (smooths && args_.kbar == nullptr);
  const bool persistent =
      plan_.select.spec.family() == KernelFamily::wgmma || plan_.attend.spec.family() == KernelFamily::wgmma;
  if (!of_means && !persistent) {
    return;
  }
  counts_ = true;
  const Driver &driver = plan_.device->driver();
  driver.check(driver.api.fill_words(reinterpret_cast<cu::Address>(at<void>(layout_.counters)), 0,
                                     layout_.counters.bytes / 4, stream_),
               "cuMemsetD32Async");
}

void enqueue(const PlanKernels &plan, const RunArgs &args, cu::Stream stream, RunMode mode, Timeline *timeline) {
  Call call(plan, args, stream, timeline);
  const bool short_call = args.shape.kv_len < plan.policy.dense_below && args.mask_in == nullptr;
  const bool dense = mode == RunMode::dense || short_call;
  const bool selected = !dense && args.mask_in == nullptr;
  // A dense call and one with its own mask may come without a workspace. All items of a dense one are known
  // beforehand; those of a mask are drawn where a counter can be.
  const bool draws = plan.attend.spec.family() == KernelFamily::wgmma && args.workspace != nullptr &&
                     args.workspace_bytes >= call.workspace_bytes();
  const bool writes_mask = dense && args.mask_out != nullptr;
  const bool draws_select = writes_mask && plan.select.spec.family() == KernelFamily::wgmma;
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
  if (dense) {
    call.attend(plan.attend_dense, nullptr, false);
  } else {
    call.attend(plan.attend, selected ? call.mask() : args.mask_in, selected);
  }
}

} // namespace sale
