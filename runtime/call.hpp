// SPDX-License-Identifier: Apache-2.0
// One call being enqueued: the plan, the caller's arguments and where the intermediates lie. What selects is in
// call_select.cpp, what attends in call_attend.cpp.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "runtime/launch.hpp"
#include "runtime/workspace.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace sale {

class Call {
public:
  Call(const PlanKernels &plan, const RunArgs &args, cu::Stream stream, Timeline *timeline)
      : plan_(plan), args_(args), stream_(stream), timeline_(timeline),
        layout_(workspace_layout(plan.problem, plan.policy, args.shape, plan.code_row_bytes)),
        counters_(counters(plan.problem, plan.policy, args.shape.batch)), scale_(effective_softmax_scale(plan.problem)),
        tau_(args.tau != nullptr ? args.tau : static_cast<const float *>(plan.tau.data())),
        kbar_(args.kbar != nullptr ? args.kbar : at<float>(layout_.kbar)),
        mask_(args.mask_out != nullptr ? args.mask_out : at<unsigned>(layout_.mask)) {}

  /// Means, channels, codes, thresholds and the mask.
  void select_blocks() const;
  /// The mask of a dense call.
  void keep_all() const;
  /// Before the first kernel that counts.
  void zero_counters();
  /// What attend reads in place of K and V with fp8_attend. `selected`: after select_blocks().
  void encode(bool selected) const;
  /// `selected`: this call's own selection made the mask, so that the thresholds are there.
  void attend(const Kernel &kernel, const std::uint32_t *mask, bool selected) const;

  const std::uint32_t *mask() const { return mask_; }
  std::size_t workspace_bytes() const { return layout_.total; }

private:
  static constexpr int group_keys = 32;     // one CTA of quantize and of values takes one group of keys
  static constexpr int amax_tokens = 256;   // one CTA of amax takes so many: short heads too fill the GPU
  static constexpr int warpgroup_rows = 64; // of the wgmma family: m of a product

  static TensorArg tensor_arg(const TensorView &view) {
    return {view.data, view.stride_batch, view.stride_head, view.stride_token};
  }
  // What the problem says of the scores, for the kernels that sum them.
  template <class Args>
  void set_variants(Args &kernel_args) const {
    kernel_args.sliding_window = plan_.problem.sliding_window;
    kernel_args.softcap = plan_.problem.softcap;
    kernel_args.sink_logits = args_.sink_logits;
  }
  static unsigned ceil_div(int value, int divisor) { return static_cast<unsigned>((value + divisor - 1) / divisor); }

  template <class T>
  T *at(const WorkspacePiece &piece) const {
    return reinterpret_cast<T *>(static_cast<unsigned char *>(args_.workspace) + piece.offset);
  }

  void means(bool of_queries) const;
  void mean(const TensorView &x, int heads, int len, const WorkspacePiece &to, const WorkspacePiece &partial,
            int first_counter) const;
  // Which channels estimate: the caller's, the policy's, or those that the channels kernel chose for each batch
  // element.
  const int *channels_used() const;
  bool channels_are_chosen() const;
  std::int64_t channels_stride() const;
  const float *projection() const;
  void channels() const;
  void quantize(const Kernel &kernel, const WorkspacePiece &codes, const WorkspacePiece &scales) const;
  void prepare() const;
  void select(const float *tau) const;
  void select_wgmma(const float *tau) const;
  void select_mma_sync(const float *tau) const;

  void attend_mma_sync(const Kernel &kernel, const std::uint32_t *mask) const;
  TensorMap map_16_bit(const TensorView &view, int heads, int tokens, int box_rows) const;
  void attend_wgmma(const Kernel &kernel, const std::uint32_t *mask, bool selected) const;
  void attend_fp8(const Kernel &kernel, const std::uint32_t *mask, bool selected) const;
  // What both kinds of the wgmma family share.
  void launch_attend(const Kernel &kernel, const std::uint32_t *mask, bool selected, AttendWgmmaArgs &a) const;
  void amax() const;
  unsigned *v_amax() const { return at<unsigned>(layout_.counters) + counters_.v_amax; }
  void values() const;

  // One CTA per multiprocessor takes item after item.
  template <class Args>
  void launch_persistent(const Kernel &kernel, std::int64_t items, Args &kernel_args) const {
    const std::int64_t ctas = std::min<std::int64_t>(items, plan_.device->multiprocessors());
    launch_grid(kernel, static_cast<unsigned>(ctas), 1, 1, kernel_args);
  }

  template <class Args>
  void launch(const Kernel &kernel, unsigned blocks, int heads, Args &kernel_args) const {
    launch_grid(kernel, blocks, static_cast<unsigned>(heads), static_cast<unsigned>(args_.shape.batch), kernel_args);
  }

  template <class Args>
  void launch_grid(const Kernel &kernel, unsigned x, unsigned y, unsigned z, Args &kernel_args) const {
    const Driver &driver = plan_.device->driver();
    void *parameters[] = {&kernel_args};
    const cu::Result result = driver.api.launch(kernel.module->function(), x, y, z, kernel.threads, 1, 1,
                                                kernel.shared_memory, stream_, parameters, nullptr);
    if (result != cu::success) {
      driver.check(result, "cuLaunchKernel", ErrorKind::launch,
                   {.options = kernel.options, .spec = kernel.spec.describe()});
    }
  }

  void mark(Stage stage) const {
    if (timeline_ != nullptr) {
      timeline_->mark(stage);
    }
  }

  const PlanKernels &plan_;
  const RunArgs &args_;
  cu::Stream stream_;
  Timeline *timeline_;
  bool counts_ = false; // Whether the counters are there, and zero.
  WorkspaceLayout layout_;
  Counters counters_;
  float scale_;
  const float *tau_;
  const float *kbar_;
  std::uint32_t *mask_;
};

} // namespace sale
