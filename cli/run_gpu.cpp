// SPDX-License-Identifier: Apache-2.0
#include "cli/backend.hpp"
#include "cli/device_memory.hpp"

#include "reference/element.hpp"
#include "reference/metrics.hpp"
#include "reference/region.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace sale::cli {

namespace {

// Everything that one call reads and writes, on the device.
class DeviceCall {
public:
  DeviceCall(const DeviceContext &context, const io::Qkv &qkv, const Policy &policy)
      : qkv_(qkv), policy_(policy), q_(context, bytes_of(qkv.q)), k_(context, bytes_of(qkv.k)),
        v_(context, bytes_of(qkv.v)), out_(context, rows(qkv) * effective_v_head_dim(qkv.problem) * sizeof(qkv.q[0])),
        lse_(context, rows(qkv) * sizeof(float)),
        mask_(context, mask_words(qkv.problem, policy, qkv.shape) * sizeof(std::uint32_t)) {
    q_.upload(std::as_bytes(std::span(qkv.q)));
    k_.upload(std::as_bytes(std::span(qkv.k)));
    v_.upload(std::as_bytes(std::span(qkv.v)));
  }

  RunArgs args(const DeviceBuffer &workspace) const {
    const Problem &problem = qkv_.problem;
    const auto view = [&](const DeviceBuffer &buffer, int heads, int tokens, int head_dim) {
      return packed_view(buffer.as<void>(), heads, tokens, head_dim);
    };
    const int v_head_dim = effective_v_head_dim(problem);
    RunArgs args;
    args.shape = qkv_.shape;
    args.q = view(q_, problem.num_q_heads, qkv_.shape.q_len, problem.head_dim);
    args.k = view(k_, problem.num_kv_heads, qkv_.shape.kv_len, problem.head_dim);
    args.v = view(v_, problem.num_kv_heads, qkv_.shape.kv_len, v_head_dim);
    args.out = view(out_, problem.num_q_heads, qkv_.shape.q_len, v_head_dim);
    args.lse = lse_.as<float>();
    args.workspace = workspace.as<void>();
    args.workspace_bytes = workspace.bytes();
    return args;
  }

  std::vector<std::uint16_t> out() const { return download<std::uint16_t>(out_); }
  std::vector<float> lse() const { return download<float>(lse_); }
  std::uint32_t *mask_address() const { return mask_.as<std::uint32_t>(); }
  reference::Mask mask() const {
    reference::Mask mask(qkv_.shape, qkv_.problem.num_q_heads, policy_.block_q, policy_.block_k);
    mask.assign_words(download<std::uint32_t>(mask_));
    return mask;
  }
  void upload_mask(const reference::Mask &mask) { mask_.upload(std::as_bytes(std::span(mask.words()))); }

private:
  static std::size_t bytes_of(const std::vector<std::uint16_t> &values) { return values.size() * sizeof(values[0]); }
  static std::size_t rows(const io::Qkv &qkv) { return qkv.q.size() / qkv.problem.head_dim; } // of queries

  const io::Qkv &qkv_;
  const Policy &policy_;
  DeviceBuffer q_, k_, v_, out_, lse_, mask_;
};

// One call to load modules and warm caches, then the median of a few, stage by stage. An emulated call is made once:
// its times say nothing about a GPU.
StageTimes measure(const Plan &plan, const RunArgs &args, bool emulated) {
  if (emulated) {
    return plan.profile(args, nullptr);
  }
  constexpr std::size_t repeats = 5;
  plan.profile(args, nullptr);
  std::array<StageTimes, repeats> samples;
  std::generate(samples.begin(), samples.end(), [&] { return plan.profile(args, nullptr); });
  const auto median = [&](double StageTimes::*stage) {
    std::array<double, repeats> values{};
    std::transform(samples.begin(), samples.end(), values.begin(), [&](const StageTimes &s) { return s.*stage; });
    std::nth_element(values.begin(), values.begin() + repeats / 2, values.end());
    return values[repeats / 2];
  };
  StageTimes result;
  for (double StageTimes::*const stage :
       {&StageTimes::mean, &StageTimes::channels, &StageTimes::quantize, &StageTimes::amax, &StageTimes::values,
        &StageTimes::prepare, &StageTimes::select, &StageTimes::attend, &StageTimes::total}) {
    result.*stage = median(stage);
  }
  return result;
}

reference::Mask reference_region(const io::Qkv &qkv, const Policy &policy) {
  reference::Mask mask(qkv.shape, qkv.problem.num_q_heads, policy.block_q, policy.block_k);
  for (int m = 0; m < mask.q_blocks(); ++m) {
    const reference::Region region = reference::region_of(policy, qkv.problem, qkv.shape, m);
    for (int j = 0; j < region.visible_blocks; ++j) {
      for (int row = 0; region.in_reference(j) && row < mask.batch() * mask.num_q_heads(); ++row) {
        mask.set(row / mask.num_q_heads(), row % mask.num_q_heads(), m, j);
      }
    }
  }
  return mask;
}

class Comparison {
public:
  Comparison(const DeviceContext &context, const Engine &engine, const io::Qkv &qkv, const Policy &policy,
             DeviceCall &call)
      : context_(context), engine_(engine), qkv_(qkv), policy_(policy), call_(call) {}

  DenseOutcome run(const Plan &plan, const DeviceBuffer &workspace, const reference::Mask &mask) {
    const RunArgs args = call_.args(workspace);
    DenseOutcome dense;
    dense.by = "gpu";
    plan.run_dense(args, nullptr);
    dense.milliseconds = time_on_device(context_, [&] { plan.run_dense(args, nullptr); });
    dense.out = reference::to_floats(call_.out(), qkv_.problem.dtype);
    dense.lse = call_.lse();
    dense.hit_mass = hit_mass(plan, args, mask, dense.lse);
    return dense;
  }

private:
  // A row's dense mass inside a mask is exp(lse of the mask - dense lse); what lies outside R is that less R's own.
  std::vector<double> hit_mass(const Plan &plan, const RunArgs &args, const reference::Mask &mask,
                               const std::vector<float> &lse_dense) {
    const reference::Mask exact = exact_mask();
    const std::vector<double> in_region = mass(plan, args, reference_region(qkv_, policy_), lse_dense);
    const std::vector<double> wanted = mass(plan, args, exact, lse_dense);
    std::vector<double> result = mass(plan, args, exact & mask, lse_dense);
    for (std::size_t head = 0; head < result.size(); ++head) {
      result[head] = reference::hit_share(result[head] - in_region[head], wanted[head] - in_region[head]);
    }
    return result;
  }

  reference::Mask exact_mask() {
    const Plan plan = engine_.prepare(qkv_.problem, reference::exact_policy(policy_));
    const DeviceBuffer workspace(context_, plan.workspace_bytes(qkv_.shape));
    RunArgs args = call_.args(workspace);
    args.mask_out = call_.mask_address();
    plan.run(args, nullptr);
    return call_.mask();
  }

  // Dense mass inside the mask, summed over the rows of each head.
  std::vector<double> mass(const Plan &plan, RunArgs args, const reference::Mask &mask,
                           const std::vector<float> &lse_dense) {
    call_.upload_mask(mask);
    args.mask_in = call_.mask_address();
    plan.run(args, nullptr);
    const std::vector<float> lse = call_.lse();
    std::vector<double> per_head(mask.num_q_heads());
    for (std::size_t row = 0; row < lse.size(); ++row) {
      per_head[row / qkv_.shape.q_len % per_head.size()] += std::exp(static_cast<double>(lse[row]) - lse_dense[row]);
    }
    return per_head;
  }

  const DeviceContext &context_;
  const Engine &engine_;
  const io::Qkv &qkv_;
  const Policy &policy_;
  DeviceCall &call_;
};

} // namespace

Outcome run_on_gpu(const io::Qkv &qkv, const Policy &policy, bool compare, int device, const Options &options) {
  const DeviceContext context(Driver::open(options.cuda_driver), device);
  const Engine engine(device, options);
  const Plan plan = engine.prepare(qkv.problem, policy);
  const DeviceBuffer workspace(context, plan.workspace_bytes(qkv.shape));
  DeviceCall call(context, qkv, policy);
  RunArgs args = call.args(workspace);
  args.mask_out = call.mask_address();

  Outcome outcome;
  outcome.device = engine.device_name();
  outcome.arch = engine.arch();
  outcome.kernels = plan.kernels();
  outcome.times = measure(plan, args, context.device()->driver().emulated());
  outcome.out = call.out();
  outcome.lse = call.lse();
  outcome.mask = call.mask();
  if (compare) {
    outcome.dense = Comparison(context, engine, qkv, policy, call).run(plan, workspace, outcome.mask);
  }
  return outcome;
}

} // namespace sale::cli
