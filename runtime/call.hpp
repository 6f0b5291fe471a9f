// SPDX-License-Identifier: Apache-2.0
// One call being enqueued: the plan, the caller's arguments and where the intermediates lie. What selects is in
// call_select.cpp, what attends in call_attend.cpp, what only ragged calls have in call_ragged.cpp, what counts in
// call_count.cpp.
#pragma once

#include "args/attend_wgmma_args.cuh"
#include "args/count_args.cuh"
#include "args/mean_args.cuh"
#include "runtime/extents.hpp"
#include "runtime/launch.hpp"
#include "runtime/workspace.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace sale {

class Call {
public:
  Call(const PlanKernels &plan, const RunArgs &args, cu::Stream stream, Timeline *timeline);

  /// Counted: before every other kernel, and after the last one.
  void begin_count() const;
  void end_count(const std::uint32_t *mask) const;
  /// Ragged: what the device knows of its sequences. Before every other kernel.
  void sequences() const;
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
  static constexpr int unit_rows = 512;     // ragged: query rows of one entry of the schedule

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
  // Where sequences and their keys lie; all zero in plain calls.
  template <class Args>
  void set_sequences(Args &kernel_args) const {
    kernel_args.ragged = ragged_;
    kernel_args.paged = paged_;
  }
  CountArgs count_args() const;
  RaggedArg ragged_arg() const;
  PagedArg paged_arg() const;
  void tails() const;
  static unsigned ceil_div(int value, int divisor) { return static_cast<unsigned>((value + divisor - 1) / divisor); }

  template <class T>
  T *at(const WorkspacePiece &piece) const {
    return reinterpret_cast<T *>(static_cast<unsigned char *>(args_.workspace) + piece.offset);
  }

  /// Whether kbar is the mean of this call's keys, rather than the caller's or the policy's.
  bool means_keys() const { return args_.kbar == nullptr && plan_.kbar.data() == nullptr; }
  /// Whether the policy's kbar has to stand once for each sequence of a plain batch.
  bool repeats_kbar() const {
    return args_.kbar == nullptr && plan_.kbar.data() != nullptr && args_.shape.batch > 1 && !plan_.serving.is_ragged();
  }
  const float *kbar() const;
  void repeat_kbar() const;
  void means(bool of_queries) const;
  void mean(MeanArgs &a, int heads, int len, int first_counter) const;
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
  TensorMap map_16_bit(const TensorView &view, const Extents &extents, int head_dim, int box_rows) const;
  TensorMap map_keys(const WorkspacePiece &codes, int row_bytes, int box_rows) const;
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
  // A CTA takes `rows` query rows. Ragged: those of one place in the schedule.
  template <class Args>
  void launch_rows(const Kernel &kernel, int rows, int heads, Args &kernel_args) const {
    if (ragged_.slots > 0) {
      launch_grid(kernel, static_cast<unsigned>(row_tiles(rows)), static_cast<unsigned>(heads), 1, kernel_args);
    } else {
      launch(kernel, ceil_div(args_.shape.q_len, rows), heads, kernel_args);
    }
  }
  // A CTA takes 32 keys. Ragged: those of one place in the workspace.
  template <class Args>
  void launch_key_groups(const Kernel &kernel, unsigned groups, Args &kernel_args) const {
    const int heads = plan_.problem.num_kv_heads;
    if (ragged_.slots > 0) {
      launch_grid(kernel, static_cast<unsigned>(ragged_.kv_rows / group_keys), static_cast<unsigned>(heads), 1,
                  kernel_args);
    } else {
      launch(kernel, groups, heads, kernel_args);
    }
  }
  // How often a head has `rows` query rows, at most.
  std::int64_t row_tiles(int rows) const {
    if (ragged_.slots > 0) {
      return std::int64_t{ragged_.slots} * unit_rows / rows;
    }
    return std::int64_t{args_.shape.batch} * ceil_div(args_.shape.q_len, rows);
  }

  template <class Args>
  void launch_grid(const Kernel &kernel, unsigned x, unsigned y, unsigned z, Args &kernel_args) const {
    launch_kernel(*plan_.device, kernel, x, y, z, &kernel_args, stream_);
  }

  void mark(Stage stage) const {
    if (timeline_ != nullptr) {
      timeline_->mark(stage);
    }
  }

  const PlanKernels &plan_;
  const RunArgs &args_;
  const Kernel &prepare_;
  const Kernel &select_;
  cu::Stream stream_;
  Timeline *timeline_;
  bool counts_ = false; // Whether the counters are there, and zero.
  WorkspaceLayout layout_;
  Counters counters_;
  float scale_;
  const float *tau_;
  const float *kbar_;
  std::uint32_t *mask_;
  RaggedArg ragged_;
  PagedArg paged_;
};

} // namespace sale
