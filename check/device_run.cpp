// SPDX-License-Identifier: Apache-2.0
#include "check/device_run.hpp"

#include "check/element_image.hpp"
#include "check/intermediates.hpp"
#include "generator/arch.hpp"

namespace sale::check {

namespace {

void upload(const GuardedMemory &memory, const Placement &p, const std::vector<float> &values, int batch, DType dtype) {
  ElementImage image(p, dtype);
  const float *row = values.data();
  for (int b = 0; b < batch; ++b) {
    for (int h = 0; h < p.heads; ++h) {
      for (int t = 0; t < p.tokens; ++t, row += p.head_dim) {
        image.put_row(b, h, t, row);
      }
    }
  }
  image.write_to(memory);
}

// Also checks that the gaps between rows still hold the poison.
std::vector<float> download(const GuardedMemory &memory, const Placement &p, int batch, DType dtype,
                            bool &gaps_intact) {
  ElementImage image(p, dtype, memory);
  std::vector<float> values;
  values.reserve(p.elements);
  for (int b = 0; b < batch; ++b) {
    for (int h = 0; h < p.heads; ++h) {
      for (int t = 0; t < p.tokens; ++t) {
        image.take_row(b, h, t, values);
      }
    }
  }
  gaps_intact = gaps_intact && image.is_untouched();
  return values;
}

} // namespace

DeviceResult run_on_device(const DeviceRun &run, const reference::Tensors &tensors,
                           const std::shared_ptr<const Device> &device, const Options &options) {
  const CurrentContext current(*device);
  const Problem &problem = run.problem;
  const Shape &shape = tensors.shape;
  Options with = options;
  with.cuda_driver = device->driver().file();
  const Engine engine(-1, with);
  const Plan plan = engine.prepare(problem, run.policy);

  const RowOrder order = run.strided ? RowOrder::tokens_first : RowOrder::heads_first;
  const int dim = problem.head_dim;
  const int v_dim = effective_v_head_dim(problem);
  const Placement q = place(shape.batch, problem.num_q_heads, shape.q_len, dim, order, run.strided);
  const Placement k = place(shape.batch, problem.num_kv_heads, shape.kv_len, dim, order, run.strided);
  const Placement v = place(shape.batch, problem.num_kv_heads, shape.kv_len, v_dim, order, run.strided);
  const Placement out = place(shape.batch, problem.num_q_heads, shape.q_len, v_dim, order, run.strided);
  const GuardedMemory q_memory(device, q.elements * 2);
  const GuardedMemory k_memory(device, k.elements * 2);
  const GuardedMemory v_memory(device, v.elements * 2);
  const GuardedMemory out_memory(device, out.elements * 2);
  const std::size_t rows = tensors.q_rows();
  const GuardedMemory lse_memory(device, rows * 4);
  const std::size_t words = mask_words(problem, run.policy, shape);
  const GuardedMemory mask_memory(device, words * 4);
  const GuardedMemory workspace(device, plan.workspace_bytes(shape));
  upload(q_memory, q, tensors.q, shape.batch, problem.dtype);
  upload(k_memory, k, tensors.k, shape.batch, problem.dtype);
  upload(v_memory, v, tensors.v, shape.batch, problem.dtype);

  RunArgs args;
  args.shape = shape;
  args.q = q.view(q_memory);
  args.k = k.view(k_memory);
  args.v = v.view(v_memory);
  args.out = out.view(out_memory);
  args.lse = static_cast<float *>(lse_memory.data());
  args.workspace = workspace.data();
  args.workspace_bytes = workspace.bytes();
  if (run.mask_in != nullptr) {
    mask_memory.write(run.mask_in->words().data(), words * 4);
    args.mask_in = static_cast<const std::uint32_t *>(mask_memory.data());
  } else if (!run.dense) {
    args.mask_out = static_cast<std::uint32_t *>(mask_memory.data());
  }
  const GuardedMemory tau(device, run.tau.size() * 4);
  const GuardedMemory shift(device, run.shift.size() * 4);
  const GuardedMemory kbar(device, run.kbar.size() * 4);
  const GuardedMemory sink_logits(device, tensors.sink_logits.size() * 4);
  const auto give = [](const GuardedMemory &memory, const std::vector<float> &values) {
    memory.write(values.data(), values.size() * 4);
    return values.empty() ? nullptr : static_cast<const float *>(memory.data());
  };
  args.tau = give(tau, run.tau);
  args.shift = give(shift, run.shift);
  args.kbar = give(kbar, run.kbar);
  args.sink_logits = give(sink_logits, tensors.sink_logits);
  if (run.dense) {
    plan.run_dense(args, nullptr);
  } else {
    plan.run(args, nullptr);
  }
  const Driver &driver = device->driver();
  driver.check(driver.api.stream_synchronize(nullptr), "cuStreamSynchronize");

  DeviceResult result;
  result.kernels = plan.kernels();
  bool gaps_intact = true;
  result.out = download(out_memory, out, shape.batch, problem.dtype, gaps_intact);
  result.lse = lse_memory.read_as<float>(0, rows);
  result.guards_intact = gaps_intact && q_memory.guards_intact() && k_memory.guards_intact() &&
                         v_memory.guards_intact() && out_memory.guards_intact() && lse_memory.guards_intact() &&
                         mask_memory.guards_intact() && workspace.guards_intact();
  if (run.dense || run.mask_in != nullptr) {
    return result;
  }
  result.mask = reference::Mask(shape, problem.num_q_heads, run.policy.block_q, run.policy.block_k);
  result.mask.assign_words(mask_memory.read_as<std::uint32_t>(0, words));

  const KernelSpec select = select_spec(run, {}, parse_arch(engine.arch()));
  const WorkspaceLayout layout = workspace_layout(problem, run.policy, shape, select.code_row_bytes());
  read_intermediates(workspace, layout, plain_places(shape, run.policy.estimator), run, select, shape, result);
  return result;
}

} // namespace sale::check
