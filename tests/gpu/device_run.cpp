// SPDX-License-Identifier: Apache-2.0
#include "tests/gpu/device_run.hpp"

#include "generator/generate.hpp"
#include "reference/element.hpp"
#include "runtime/workspace.hpp"
#include "tests/gpu/gpu_fixture.hpp"

#include <cstdlib>

namespace sale::test {

namespace {

// How [batch, heads, tokens, head_dim] lies in device memory; strides in elements.
struct Placement {
  int heads, tokens, head_dim;
  std::int64_t batch_stride, head_stride, token_stride;
  std::size_t elements;

  std::int64_t offset(int b, int h, int t) const { return b * batch_stride + h * head_stride + t * token_stride; }
  TensorView view(const GuardedMemory &memory) const {
    return {memory.data(), batch_stride, head_stride, token_stride};
  }
};

Placement place(int batch, int heads, int tokens, int head_dim, bool strided) {
  Placement p{heads, tokens, head_dim, 0, 0, head_dim, 0};
  if (strided) {
    p.head_stride = head_dim + 8;
    p.token_stride = p.head_stride * heads + 24;
    p.batch_stride = p.token_stride * tokens + 40;
  } else {
    p.head_stride = static_cast<std::int64_t>(tokens) * head_dim;
    p.batch_stride = p.head_stride * heads;
  }
  p.elements = static_cast<std::size_t>(p.batch_stride * batch);
  return p;
}

void upload(const GuardedMemory &memory, const Placement &p, const std::vector<float> &values, int batch, DType dtype) {
  std::vector<std::uint16_t> bits(p.elements, 0xffffU);
  std::size_t row = 0;
  for (int b = 0; b < batch; ++b) {
    for (int h = 0; h < p.heads; ++h) {
      for (int t = 0; t < p.tokens; ++t, ++row) {
        for (int d = 0; d < p.head_dim; ++d) {
          bits[static_cast<std::size_t>(p.offset(b, h, t) + d)] =
              reference::float_to_element(values[row * p.head_dim + d], dtype);
        }
      }
    }
  }
  memory.write(bits.data(), bits.size() * 2);
}

// Also checks that the gaps between rows still hold the poison.
std::vector<float> download(const GuardedMemory &memory, const Placement &p, int batch, DType dtype,
                            bool &gaps_intact) {
  auto bits = memory.read_as<std::uint16_t>(0, p.elements);
  std::vector<float> values;
  values.reserve(p.elements);
  for (int b = 0; b < batch; ++b) {
    for (int h = 0; h < p.heads; ++h) {
      for (int t = 0; t < p.tokens; ++t) {
        for (int d = 0; d < p.head_dim; ++d) {
          auto &element = bits[static_cast<std::size_t>(p.offset(b, h, t) + d)];
          values.push_back(reference::element_to_float(element, dtype));
          element = 0xffffU;
        }
      }
    }
  }
  for (const std::uint16_t element : bits) {
    gaps_intact = gaps_intact && element == 0xffffU;
  }
  return values;
}

} // namespace

Options test_options(const std::string &arch) {
  Options options;
  options.arch = arch;
  if (std::getenv("SALE_CACHE_DIR") == nullptr) {
    options.cache_dir = std::filesystem::path(SALE_BINARY_DIR) / "test-cache";
  }
  return options;
}

DeviceResult run_on_device(const DeviceRun &run, const reference::Tensors &tensors) {
  const Problem &problem = run.problem;
  const Shape &shape = tensors.shape;
  const Engine engine(0, test_options(run.arch));
  const Plan plan = engine.prepare(problem, run.policy);

  const Placement q = place(shape.batch, problem.num_q_heads, shape.q_len, problem.head_dim, run.strided);
  const Placement kv = place(shape.batch, problem.num_kv_heads, shape.kv_len, problem.head_dim, run.strided);
  const GuardedMemory q_memory(q.elements * 2);
  const GuardedMemory k_memory(kv.elements * 2);
  const GuardedMemory v_memory(kv.elements * 2);
  const GuardedMemory out_memory(q.elements * 2);
  const std::size_t rows = tensors.q_rows();
  const GuardedMemory lse_memory(rows * 4);
  const std::size_t words = mask_words(problem, run.policy, shape);
  const GuardedMemory mask_memory(words * 4);
  const GuardedMemory workspace(plan.workspace_bytes(shape));
  upload(q_memory, q, tensors.q, shape.batch, problem.dtype);
  upload(k_memory, kv, tensors.k, shape.batch, problem.dtype);
  upload(v_memory, kv, tensors.v, shape.batch, problem.dtype);

  RunArgs args;
  args.shape = shape;
  args.q = q.view(q_memory);
  args.k = kv.view(k_memory);
  args.v = kv.view(v_memory);
  args.out = q.view(out_memory);
  args.lse = static_cast<float *>(lse_memory.data());
  args.workspace = workspace.data();
  args.workspace_bytes = workspace.bytes();
  if (run.mask_in != nullptr) {
    mask_memory.write(run.mask_in->words().data(), words * 4);
    args.mask_in = static_cast<const std::uint32_t *>(mask_memory.data());
  } else if (!run.dense) {
    args.mask_out = static_cast<std::uint32_t *>(mask_memory.data());
  }
  const GuardedMemory tau(run.tau.size() * 4);
  const GuardedMemory shift(run.shift.size() * 4);
  const GuardedMemory kbar(run.kbar.size() * 4);
  const auto give = [](const GuardedMemory &memory, const std::vector<float> &values) {
    memory.write(values.data(), values.size() * 4);
    return values.empty() ? nullptr : static_cast<const float *>(memory.data());
  };
  args.tau = give(tau, run.tau);
  args.shift = give(shift, run.shift);
  args.kbar = give(kbar, run.kbar);
  if (run.dense) {
    plan.run_dense(args, nullptr);
  } else {
    plan.run(args, nullptr);
  }
  const Driver &driver = *Gpu::get().driver;
  driver.check(driver.api.stream_synchronize(nullptr), "cuStreamSynchronize");

  DeviceResult result;
  bool gaps_intact = true;
  result.out = download(out_memory, q, shape.batch, problem.dtype, gaps_intact);
  result.lse = lse_memory.read_as<float>(0, rows);
  result.guards_intact = gaps_intact && q_memory.guards_intact() && k_memory.guards_intact() &&
                         v_memory.guards_intact() && out_memory.guards_intact() && lse_memory.guards_intact() &&
                         mask_memory.guards_intact() && workspace.guards_intact();
  if (run.dense || run.mask_in != nullptr) {
    return result;
  }
  result.mask = reference::Mask(shape, problem.num_q_heads, run.policy.block_q, run.policy.block_k);
  result.mask.assign_words(mask_memory.read_as<std::uint32_t>(0, words));

  const int code_row_bytes = plan_kernels(problem, run.policy, parse_arch(engine.arch())).front().code_row_bytes();
  const WorkspaceLayout layout = workspace_layout(problem, run.policy, shape, code_row_bytes);
  const auto padded = static_cast<std::size_t>(padded_q_len(shape.q_len));
  const auto thresholds = workspace.read_as<float>(layout.threshold.offset, layout.threshold.bytes / 4);
  for (std::size_t head = 0; head < static_cast<std::size_t>(shape.batch) * problem.num_q_heads; ++head) {
    const auto begin = thresholds.begin() + static_cast<std::ptrdiff_t>(head * padded);
    result.threshold.insert(result.threshold.end(), begin, begin + shape.q_len);
  }
  const auto means = [&](const WorkspacePiece &piece, int heads) {
    const std::size_t count = static_cast<std::size_t>(shape.batch) * heads * problem.head_dim;
    return piece.bytes == 0 ? std::vector<float>() : workspace.read_as<float>(piece.offset, count);
  };
  result.kbar = run.kbar.empty() ? means(layout.kbar, problem.num_kv_heads) : run.kbar;
  result.qbar = means(layout.qbar, problem.num_q_heads);
  return result;
}

} // namespace sale::test
