// SPDX-License-Identifier: Apache-2.0
#include "runtime/launch.hpp"

#include "args/attend_args.cuh"
#include "args/attend_wgmma_args.cuh"
#include "args/channels_args.cuh"
#include "args/mean_args.cuh"
#include "args/prepare_args.cuh"
#include "args/quantize_args.cuh"
#include "args/select_args.cuh"
#include "args/select_wgmma_args.cuh"
#include "args/values_args.cuh"
#include "runtime/tensor_maps.hpp"
#include "runtime/workspace.hpp"

#include <algorithm>
#include <cstdint>

namespace sale {

namespace {

constexpr int group_keys = 32;     // one CTA of quantize and of values takes one group of keys
constexpr int warpgroup_rows = 64; // of the wgmma family: m of a product

TensorArg tensor_arg(const TensorView &view) {
  return {view.data, view.stride_batch, view.stride_head, view.stride_token};
}

unsigned ceil_div(int value, int divisor) { return static_cast<unsigned>((value + divisor - 1) / divisor); }

// One call being enqueued: the plan, the caller's arguments and where the intermediates lie.
class Call {
public:
  Call(const PlanKernels &plan, const RunArgs &args, cu::Stream stream, Timeline *timeline)
      : plan_(plan), args_(args), stream_(stream), timeline_(timeline),
        layout_(workspace_layout(plan.problem, plan.policy, args.shape, plan.code_row_bytes)),
        counters_(counters(plan.problem, plan.policy, args.shape.batch)), scale_(effective_softmax_scale(plan.problem)),
        tau_(args.tau != nullptr ? args.tau : static_cast<const float *>(plan.tau.data())),
        kbar_(args.kbar != nullptr ? args.kbar : at<float>(layout_.kbar)),
        mask_(args.mask_out != nullptr ? args.mask_out : at<unsigned>(layout_.mask)) {}

  void select_blocks() const {
    if (plan_.policy.estimator != Estimator::exact) {
      means(plan_.policy.estimator == Estimator::int4);
      if (plan_.channels.module != nullptr) {
        channels();
      }
      quantize(plan_.quantize, layout_.k_codes, layout_.k_scales);
    }
    prepare();
    select(tau_);
  }

  // What attend reads in place of K and V. `selected`: after select_blocks().
  void encode(bool selected) const {
    if (!plan_.policy.fp8_attend) {
      return;
    }
    if (!selected || plan_.policy.estimator == Estimator::exact) {
      means(false);
    }
    if (plan_.quantize_all.module != nullptr) {
      quantize(plan_.quantize_all, layout_.all_k_codes, layout_.all_k_scales);
    } else if (!selected) {
      quantize(plan_.quantize, layout_.k_codes, layout_.k_scales);
    }
    values();
  }

  // The mask of a dense call.
  void keep_all() const { select(static_cast<const float *>(plan_.zeros.data())); }

  // Before the first kernel that counts.
  void zero_counters() {
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

  // `selected`: this call's own selection made the mask, so that the thresholds are there.
  void attend(const Kernel &kernel, const std::uint32_t *mask, bool selected) const {
    if (kernel.spec.fp8_attend) {
      attend_fp8(kernel, mask, selected);
    } else if (kernel.spec.family() == KernelFamily::wgmma) {
      attend_wgmma(kernel, mask, selected);
    } else {
      attend_mma_sync(kernel, mask);
    }
    mark(Stage::attend);
  }

  const std::uint32_t *mask() const { return mask_; }
  std::size_t workspace_bytes() const { return layout_.total; }

private:
  template <class T>
  T *at(const WorkspacePiece &piece) const {
    return reinterpret_cast<T *>(static_cast<unsigned char *>(args_.workspace) + piece.offset);
  }

  void attend_mma_sync(const Kernel &kernel, const std::uint32_t *mask) const {
    AttendArgs a{};
    a.q = tensor_arg(args_.q);
    a.k = tensor_arg(args_.k);
    a.v = tensor_arg(args_.v);
    a.out = tensor_arg(args_.out);
    a.lse = args_.lse;
    a.mask = mask;
    a.num_q_heads = plan_.problem.num_q_heads;
    a.q_len = args_.shape.q_len;
    a.kv_len = args_.shape.kv_len;
    a.mask_words = mask_row_words(plan_.policy, args_.shape.kv_len);
    a.softmax_scale = scale_;
    launch(kernel, ceil_div(args_.shape.q_len, kernel.spec.tile.rows()), plan_.problem.num_q_heads, a);
  }

  TensorMap map_16_bit(const TensorView &view, int heads, int tokens, int box_rows) const {
    return map_tensor(plan_.device->driver(), view, plan_.problem.dtype, args_.shape.batch, heads, tokens,
                      plan_.problem.head_dim, box_rows);
  }

  void attend_wgmma(const Kernel &kernel, const std::uint32_t *mask, bool selected) const {
    const int keys_per_copy = kernel.spec.keys_per_copy();
    AttendWgmmaArgs a{};
    a.k = map_16_bit(args_.k, plan_.problem.num_kv_heads, args_.shape.kv_len, keys_per_copy);
    a.v = map_16_bit(args_.v, plan_.problem.num_kv_heads, args_.shape.kv_len, keys_per_copy);
    launch_attend(kernel, mask, selected, a);
  }

  void attend_fp8(const Kernel &kernel, const std::uint32_t *mask, bool selected) const {
    const bool own_codes = plan_.quantize_all.module != nullptr;
    AttendWgmmaArgs a{};
    a.k = map_codes(plan_.device->driver(), at<void>(own_codes ? layout_.all_k_codes : layout_.k_codes),
                    args_.shape.batch * plan_.problem.num_kv_heads, args_.shape.kv_len, plan_.problem.head_dim,
                    kernel.spec.keys_per_copy());
    a.v_codes = at<unsigned char>(layout_.v_codes);
    a.scales = at<float>(layout_.kv_scales);
    a.kbar = kbar_;
    launch_attend(kernel, mask, selected, a);
  }

  // What both kinds of attend share.
  void launch_attend(const Kernel &kernel, const std::uint32_t *mask, bool selected, AttendWgmmaArgs &a) const {
    const Problem &problem = plan_.problem;
    const Shape &shape = args_.shape;
    a.q = map_16_bit(args_.q, problem.num_q_heads, shape.q_len, warpgroup_rows);
    a.out = tensor_arg(args_.out);
    a.lse = args_.lse;
    a.mask = mask;
    a.threshold = selected ? at<float>(layout_.threshold) : nullptr;
    a.next_item = counts_ ? at<unsigned>(layout_.counters) + counters_.attend_item : nullptr;
    a.batch = shape.batch;
    a.num_q_heads = problem.num_q_heads;
    a.q_len = shape.q_len;
    a.kv_len = shape.kv_len;
    a.mask_words = mask_row_words(plan_.policy, shape.kv_len);
    a.sink = plan_.policy.sink;
    a.window = plan_.policy.window;
    a.softmax_scale = scale_;
    const std::int64_t items =
        std::int64_t{shape.batch} * problem.num_q_heads * ceil_div(shape.q_len, kernel.spec.tile.rows());
    launch_persistent(kernel, items, a);
  }

  void means(bool of_queries) const {
    const bool of_keys = args_.kbar == nullptr;
    if (!of_keys && !of_queries) {
      return;
    }
    const int kv_heads = plan_.problem.num_kv_heads;
    if (of_keys) {
      mean(args_.k, kv_heads, args_.shape.kv_len, layout_.kbar, layout_.kbar_partial, counters_.keys);
    }
    if (of_queries) {
      mean(args_.q, plan_.problem.num_q_heads, args_.shape.q_len, layout_.qbar, layout_.qbar_partial,
           counters_.queries);
    }
    mark(Stage::mean);
  }

  void mean(const TensorView &x, int heads, int len, const WorkspacePiece &to, const WorkspacePiece &partial,
            int first_counter) const {
    const MeanSplit split = split_mean(len);
    MeanArgs a{};
    a.x = tensor_arg(x);
    a.mean = at<float>(to);
    a.partial = at<float>(partial);
    a.arrived = at<unsigned>(layout_.counters) + first_counter;
    a.heads = heads;
    a.len = len;
    a.splits = split.splits;
    a.tokens_per_split = split.tokens_per_split;
    launch(plan_.mean, static_cast<unsigned>(split.splits), heads, a);
  }

  // Which channels estimate: the caller's, the policy's, or those that the channels kernel chose for each batch
  // element.
  const int *channels_used() const {
    if (args_.channels != nullptr) {
      return args_.channels;
    }
    const auto *planned = static_cast<const int *>(plan_.channels_used.data());
    return planned != nullptr ? planned : at<int>(layout_.channels);
  }
  bool channels_are_chosen() const { return args_.channels == nullptr && plan_.channels_used.data() == nullptr; }
  std::int64_t channels_stride() const {
    return channels_are_chosen() ? std::int64_t{plan_.problem.num_kv_heads} * plan_.policy.estimate_dim : 0;
  }
  const float *projection() const {
    return args_.projection != nullptr ? args_.projection : static_cast<const float *>(plan_.projection.data());
  }

  void channels() const {
    const bool chosen = plan_.channels.spec.basis == EstimateBasis::channels && channels_are_chosen();
    if (!chosen && !plan_.policy.prune_queries) {
      return;
    }
    ChannelsArgs a{};
    a.q = tensor_arg(args_.q);
    a.k = tensor_arg(args_.k);
    a.kbar = kbar_;
    a.partial = at<float>(layout_.energy);
    a.arrived = at<unsigned>(layout_.counters) + counters_.channels;
    a.channels = chosen ? at<int>(layout_.channels) : nullptr;
    a.given = chosen ? nullptr : channels_used();
    a.weights = plan_.policy.prune_queries ? at<float>(layout_.weights) : nullptr;
    a.num_q_heads = plan_.problem.num_q_heads;
    a.num_kv_heads = plan_.problem.num_kv_heads;
    a.q_len = args_.shape.q_len;
    a.kv_len = args_.shape.kv_len;
    a.splits = energy_splits(a.kv_len);
    launch(plan_.channels, static_cast<unsigned>(a.splits), a.num_kv_heads, a);
    mark(Stage::channels);
  }

  void quantize(const Kernel &kernel, const WorkspacePiece &codes, const WorkspacePiece &scales) const {
    QuantizeArgs a{};
    a.k = tensor_arg(args_.k);
    a.kbar = kbar_;
    a.qbar = at<float>(layout_.qbar);
    a.codes = at<unsigned char>(codes);
    a.scales = at<float>(scales);
    a.bias = at<float>(layout_.bias);
    a.channels = channels_used();
    a.channels_stride = channels_stride();
    a.projection = projection();
    a.num_kv_heads = plan_.problem.num_kv_heads;
    a.kv_len = args_.shape.kv_len;
    launch(kernel, ceil_div(args_.shape.kv_len, group_keys), a.num_kv_heads, a);
    mark(Stage::quantize);
  }

  void values() const {
    ValuesArgs a{};
    a.v = tensor_arg(args_.v);
    a.k_scales = at<unsigned>(plan_.quantize_all.module != nullptr ? layout_.all_k_scales : layout_.k_scales);
    a.codes = at<unsigned char>(layout_.v_codes);
    a.scales = at<float>(layout_.kv_scales);
    a.num_kv_heads = plan_.problem.num_kv_heads;
    a.kv_len = args_.shape.kv_len;
    launch(plan_.values, 4 * ceil_div(a.kv_len, 4 * group_keys), a.num_kv_heads, a);
    mark(Stage::values);
  }

  void prepare() const {
    PrepareArgs a{};
    a.q = tensor_arg(args_.q);
    a.k = tensor_arg(args_.k);
    a.kbar = kbar_;
    a.qbar = at<float>(layout_.qbar);
    a.tau = tau_;
    a.shift = args_.shift != nullptr ? args_.shift : static_cast<const float *>(plan_.shift.data());
    a.threshold = at<float>(layout_.threshold);
    a.theta = at<float>(layout_.theta);
    a.q_codes = at<unsigned char>(layout_.q_codes);
    a.q_scale = at<float>(layout_.q_scales);
    a.channels = channels_used();
    a.channels_stride = channels_stride();
    a.projection = projection();
    a.weights = at<float>(layout_.weights);
    a.q_metadata = at<unsigned>(layout_.q_metadata);
    a.num_q_heads = plan_.problem.num_q_heads;
    a.q_len = args_.shape.q_len;
    a.kv_len = args_.shape.kv_len;
    a.sink = plan_.policy.sink;
    a.window = plan_.policy.window;
    a.softmax_scale = scale_;
    // A CTA takes one query block of as many query heads of a KV head as its tile has room for.
    const int heads = plan_.prepare.spec.tile.rows() / plan_.policy.block_q;
    const unsigned head_groups = plan_.problem.num_kv_heads * ceil_div(plan_.prepare.spec.gqa, heads);
    launch(plan_.prepare, ceil_div(a.q_len, plan_.policy.block_q), static_cast<int>(head_groups), a);
    mark(Stage::prepare);
  }

  void select(const float *tau) const {
    if (plan_.select.spec.family() == KernelFamily::wgmma) {
      select_wgmma(tau);
    } else {
      select_mma_sync(tau);
    }
    mark(Stage::select);
  }

  void select_wgmma(const float *tau) const {
    const Problem &problem = plan_.problem;
    const Shape &shape = args_.shape;
    const Tile &tile = plan_.select.spec.tile;
    SelectWgmmaArgs a{};
    a.k_codes = map_codes(plan_.device->driver(), at<void>(layout_.k_codes), shape.batch * problem.num_kv_heads,
                          shape.kv_len, plan_.code_row_bytes, tile.keys_per_step);
    a.q_codes = at<unsigned char>(layout_.q_codes);
    a.q_metadata = at<unsigned>(layout_.q_metadata);
    a.k_scales = at<unsigned>(layout_.k_scales);
    a.theta = at<float>(layout_.theta);
    a.tau = tau;
    a.mask = mask_;
    a.next_item = at<unsigned>(layout_.counters) + counters_.select_item;
    a.batch = shape.batch;
    a.num_q_heads = problem.num_q_heads;
    a.q_len = shape.q_len;
    a.kv_len = shape.kv_len;
    a.sink = plan_.policy.sink;
    a.window = plan_.policy.window;
    a.mask_words = mask_row_words(plan_.policy, a.kv_len);
    // A unit is 64 rows of one query head of a KV head's group.
    const int units = problem.num_q_heads / problem.num_kv_heads * static_cast<int>(ceil_div(a.q_len, warpgroup_rows));
    launch_persistent(plan_.select,
                      std::int64_t{shape.batch} * problem.num_kv_heads * ceil_div(units, tile.rows() / warpgroup_rows),
                      a);
  }

  void select_mma_sync(const float *tau) const {
    SelectArgs a{};
    a.q = tensor_arg(args_.q);
    a.k = tensor_arg(args_.k);
    a.q_codes = at<unsigned char>(layout_.q_codes);
    a.k_codes = at<unsigned char>(layout_.k_codes);
    a.k_scales = at<float>(layout_.k_scales);
    a.q_scale = at<float>(layout_.q_scales);
    a.bias = at<float>(layout_.bias);
    a.theta = at<float>(layout_.theta);
    a.tau = tau;
    a.mask = mask_;
    a.num_q_heads = plan_.problem.num_q_heads;
    a.q_len = args_.shape.q_len;
    a.kv_len = args_.shape.kv_len;
    a.sink = plan_.policy.sink;
    a.window = plan_.policy.window;
    a.mask_words = mask_row_words(plan_.policy, a.kv_len);
    launch(plan_.select, ceil_div(a.q_len, plan_.select.spec.tile.rows()), a.num_q_heads, a);
  }

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

} // namespace

void enqueue(const PlanKernels &plan, const RunArgs &args, cu::Stream stream, RunMode mode, Timeline *timeline) {
  Call call(plan, args, stream, timeline);
  const bool short_call = args.shape.kv_len < plan.policy.dense_below && args.mask_in == nullptr;
  const bool dense = mode == RunMode::dense || short_call;
  const bool selected = !dense && args.mask_in == nullptr;
  // A dense call and one with its own mask may come without a workspace. All items of a dense one are known
  // beforehand; those of a mask are drawn where a counter can be.
  const bool draws = plan.attend.spec.family() == KernelFamily::wgmma && args.workspace != nullptr &&
                     args.workspace_bytes >= call.workspace_bytes();
  if (selected || plan.policy.fp8_attend || (args.mask_in != nullptr && draws)) {
    call.zero_counters();
  }
  if (selected) {
    call.select_blocks();
  } else if (dense && args.mask_out != nullptr) {
    call.keep_all();
  }
  call.encode(selected);
  if (dense) {
    call.attend(plan.attend_dense, nullptr, false);
  } else {
    call.attend(plan.attend, selected ? call.mask() : args.mask_in, selected);
  }
}

} // namespace sale
