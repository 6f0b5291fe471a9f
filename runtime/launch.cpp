// SPDX-License-Identifier: Apache-2.0
#include "runtime/launch.hpp"

#include "args/attend_args.cuh"
#include "args/mean_args.cuh"
#include "args/prepare_args.cuh"
#include "args/quantize_args.cuh"
#include "args/select_args.cuh"
#include "runtime/workspace.hpp"

namespace sale {

namespace {

constexpr int quantize_keys = 32; // one CTA of quantize takes one group of keys

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
        scale_(effective_softmax_scale(plan.problem)),
        tau_(args.tau != nullptr ? args.tau : static_cast<const float *>(plan.tau.data())),
        kbar_(args.kbar != nullptr ? args.kbar : at<float>(layout_.kbar)),
        mask_(args.mask_out != nullptr ? args.mask_out : at<unsigned>(layout_.mask)) {}

  void select_blocks() const {
    if (plan_.policy.estimator != Estimator::exact) {
      means();
      quantize();
    }
    prepare();
    select();
  }

  void attend(const Kernel &kernel, const std::uint32_t *mask) const {
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
    mark(Stage::attend);
  }

  const std::uint32_t *mask() const { return mask_; }

private:
  template <class T>
  T *at(const WorkspacePiece &piece) const {
    return reinterpret_cast<T *>(static_cast<unsigned char *>(args_.workspace) + piece.offset);
  }

  void means() const {
    const bool of_keys = args_.kbar == nullptr;
    const bool of_queries = plan_.policy.estimator == Estimator::int4;
    if (!of_keys && !of_queries) {
      return;
    }
    const Driver &driver = plan_.device->driver();
    driver.check(driver.api.fill_words(reinterpret_cast<cu::Address>(at<void>(layout_.arrived)), 0,
                                       layout_.arrived.bytes / 4, stream_),
                 "cuMemsetD32Async");
    const int kv_heads = plan_.problem.num_kv_heads;
    if (of_keys) {
      mean(args_.k, kv_heads, args_.shape.kv_len, layout_.kbar, layout_.kbar_partial, 0);
    }
    if (of_queries) {
      mean(args_.q, plan_.problem.num_q_heads, args_.shape.q_len, layout_.qbar, layout_.qbar_partial,
           args_.shape.batch * kv_heads);
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
    a.arrived = at<unsigned>(layout_.arrived) + first_counter;
    a.heads = heads;
    a.len = len;
    a.splits = split.splits;
    a.tokens_per_split = split.tokens_per_split;
    launch(plan_.mean, static_cast<unsigned>(split.splits), heads, a);
  }

  void quantize() const {
    QuantizeArgs a{};
    a.k = tensor_arg(args_.k);
    a.kbar = kbar_;
    a.qbar = at<float>(layout_.qbar);
    a.codes = at<unsigned char>(layout_.k_codes);
    a.scales = at<float>(layout_.k_scales);
    a.bias = at<float>(layout_.bias);
    a.num_kv_heads = plan_.problem.num_kv_heads;
    a.kv_len = args_.shape.kv_len;
    launch(plan_.quantize, ceil_div(args_.shape.kv_len, quantize_keys), a.num_kv_heads, a);
    mark(Stage::quantize);
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
    a.num_q_heads = plan_.problem.num_q_heads;
    a.q_len = args_.shape.q_len;
    a.kv_len = args_.shape.kv_len;
    a.sink = plan_.policy.sink;
    a.window = plan_.policy.window;
    a.softmax_scale = scale_;
    launch(plan_.prepare, ceil_div(a.q_len, plan_.policy.block_q), a.num_q_heads, a);
    mark(Stage::prepare);
  }

  void select() const {
    SelectArgs a{};
    a.q = tensor_arg(args_.q);
    a.k = tensor_arg(args_.k);
    a.q_codes = at<unsigned char>(layout_.q_codes);
    a.k_codes = at<unsigned char>(layout_.k_codes);
    a.k_scales = at<float>(layout_.k_scales);
    a.q_scale = at<float>(layout_.q_scales);
    a.bias = at<float>(layout_.bias);
    a.theta = at<float>(layout_.theta);
    a.tau = tau_;
    a.mask = mask_;
    a.num_q_heads = plan_.problem.num_q_heads;
    a.q_len = args_.shape.q_len;
    a.kv_len = args_.shape.kv_len;
    a.sink = plan_.policy.sink;
    a.window = plan_.policy.window;
    a.mask_words = mask_row_words(plan_.policy, a.kv_len);
    launch(plan_.select, ceil_div(a.q_len, plan_.select.spec.tile.rows()), a.num_q_heads, a);
    mark(Stage::select);
  }

  template <class Args>
  void launch(const Kernel &kernel, unsigned blocks, int heads, Args &kernel_args) const {
    const Driver &driver = plan_.device->driver();
    void *parameters[] = {&kernel_args};
    const cu::Result result = driver.api.launch(kernel.module->function(), blocks, static_cast<unsigned>(heads),
                                                static_cast<unsigned>(args_.shape.batch), kernel.threads, 1, 1,
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
  WorkspaceLayout layout_;
  float scale_;
  const float *tau_;
  const float *kbar_;
  std::uint32_t *mask_;
};

} // namespace

void enqueue(const PlanKernels &plan, const RunArgs &args, cu::Stream stream, RunMode mode, Timeline *timeline) {
  const Call call(plan, args, stream, timeline);
  if (mode == RunMode::dense) {
    call.attend(plan.attend_dense, nullptr);
  } else if (args.mask_in != nullptr) {
    call.attend(plan.attend, args.mask_in);
  } else {
    call.select_blocks();
    call.attend(plan.attend, call.mask());
  }
}

} // namespace sale
