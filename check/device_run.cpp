// SPDX-License-Identifier: Apache-2.0
#include "check/device_run.hpp"

#include "check/guarded_memory.hpp"
#include "generator/generate.hpp"
#include "reference/element.hpp"
#include "runtime/workspace.hpp"

#include <algorithm>
#include <array>

namespace sale::check {

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

KernelSpec select_spec(const DeviceRun &run, const Arch &arch) {
  const std::vector<KernelSpec> specs = plan_kernels(run.problem, run.policy, arch);
  return *std::find_if(specs.begin(), specs.end(), [](const KernelSpec &spec) { return spec.stage == Stage::select; });
}

// Where selection left its intermediates, read back.
class Intermediates {
public:
  Intermediates(const GuardedMemory &workspace, const DeviceRun &run, const reference::Tensors &tensors,
                const Arch &arch)
      : workspace_(workspace), run_(run), shape_(tensors.shape), spec_(select_spec(run, arch)),
        layout_(workspace_layout(run.problem, run.policy, shape_, spec_.code_row_bytes())) {}

  void read(DeviceResult &result) const {
    const Problem &problem = run_.problem;
    result.threshold = rows_of(layout_.threshold);
    result.kbar = run_.kbar.empty() ? means(layout_.kbar, problem.num_kv_heads) : run_.kbar;
    result.qbar = means(layout_.qbar, problem.num_q_heads);
    if (run_.policy.estimator == Estimator::exact) {
      return;
    }
    result.keys.codes = codes(layout_.k_codes, problem.num_kv_heads, shape_.kv_len, shape_.kv_len);
    if (run_.policy.estimator == Estimator::fp8) {
      result.keys.scales = fp8_scales();
      result.channels = channels();
    } else {
      const int groups = run_.policy.estimator == Estimator::int4 ? 4 : 1;
      result.keys.scales = workspace_.read_as<float>(
          layout_.k_scales.offset, heads(problem.num_kv_heads) * reference::ceil_div(shape_.kv_len, 32) * groups);
    }
    result.queries.codes = run_.policy.prune_queries
                               ? pruned_codes()
                               : codes(layout_.q_codes, problem.num_q_heads, shape_.q_len, padded_q_len(shape_.q_len));
    result.queries.scales = rows_of(layout_.q_scales);
  }

private:
  std::size_t heads(int per_batch) const { return static_cast<std::size_t>(shape_.batch) * per_batch; }

  // One value per query row, without the rows that pad a head.
  std::vector<float> rows_of(const WorkspacePiece &piece) const {
    const auto padded = static_cast<std::size_t>(padded_q_len(shape_.q_len));
    const auto all = workspace_.read_as<float>(piece.offset, piece.bytes / 4);
    std::vector<float> values;
    for (std::size_t head = 0; head < heads(run_.problem.num_q_heads); ++head) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(head * padded);
      values.insert(values.end(), begin, begin + shape_.q_len);
    }
    return values;
  }

  std::vector<float> means(const WorkspacePiece &piece, int per_batch) const {
    return piece.bytes == 0 ? std::vector<float>()
                            : workspace_.read_as<float>(piece.offset, heads(per_batch) * run_.problem.head_dim);
  }

  // A word is twice the same f16; the words that pad a head are left out.
  std::vector<float> fp8_scales() const {
    const int groups = reference::ceil_div(shape_.kv_len, 32);
    const auto padded = static_cast<std::size_t>(reference::ceil_div(groups, 4)) * 4;
    const auto words = workspace_.read_as<std::uint32_t>(layout_.k_scales.offset, layout_.k_scales.bytes / 4);
    std::vector<float> values;
    for (std::size_t head = 0; head < heads(run_.problem.num_kv_heads); ++head) {
      for (std::size_t group = 0; group < static_cast<std::size_t>(groups); ++group) {
        values.push_back(reference::f16_to_float(static_cast<std::uint16_t>(words[head * padded + group])));
      }
    }
    return values;
  }

  reference::Channels channels() const {
    const Policy &policy = run_.policy;
    const std::size_t count = heads(run_.problem.num_kv_heads) * static_cast<std::size_t>(spec_.estimate_width());
    reference::Channels result;
    if (policy.projection.empty()) {
      if (policy.estimate_dim == 0) {
        for (std::size_t i = 0; i < count; ++i) {
          result.index.push_back(static_cast<int>(i) % run_.problem.head_dim);
        }
      } else if (policy.channels.empty()) {
        result.index = workspace_.read_as<int>(layout_.channels.offset, count);
      } else {
        for (int b = 0; b < shape_.batch; ++b) {
          result.index.insert(result.index.end(), policy.channels.begin(), policy.channels.end());
        }
      }
    }
    if (policy.prune_queries) {
      result.weights = workspace_.read_as<float>(layout_.weights.offset, count);
    }
    return result;
  }

  // A code is a byte, or on 8.x int4's is a nibble, the even channel low (templates/common/codes.cuh).
  std::vector<std::int8_t> codes(const WorkspacePiece &piece, int per_batch, int rows, int padded_rows) const {
    const auto row_bytes = static_cast<std::size_t>(spec_.code_row_bytes());
    const int channels_of_a_row =
        run_.policy.estimator == Estimator::fp8 ? spec_.estimate_width() : run_.problem.head_dim;
    const bool packed = run_.policy.estimator == Estimator::int4 && spec_.arch.has_int4_mma();
    const auto bytes = workspace_.read(piece.offset, piece.bytes);
    std::vector<std::int8_t> values;
    for (std::size_t head = 0; head < heads(per_batch); ++head) {
      for (int row = 0; row < rows; ++row) {
        const std::uint8_t *at = bytes.data() + (head * padded_rows + row) * row_bytes;
        for (int d = 0; d < channels_of_a_row; ++d) {
          const int nibble = at[d / 2] >> (d % 2 * 4) & 15;
          values.push_back(static_cast<std::int8_t>(packed ? (nibble ^ 8) - 8 : at[d]));
        }
      }
    }
    return values;
  }

  // Two of every four channels are there; the metadata say which (templates/prepare/prune.cuh).
  std::vector<std::int8_t> pruned_codes() const {
    const auto width = static_cast<std::size_t>(spec_.estimate_width());
    const auto padded = static_cast<std::size_t>(padded_q_len(shape_.q_len));
    const auto bytes = workspace_.read(layout_.q_codes.offset, layout_.q_codes.bytes);
    const auto words = workspace_.read_as<std::uint32_t>(layout_.q_metadata.offset, layout_.q_metadata.bytes / 4);
    std::vector<std::int8_t> values;
    for (std::size_t head = 0; head < heads(run_.problem.num_q_heads); ++head) {
      for (std::size_t row = 0; row < static_cast<std::size_t>(shape_.q_len); ++row) {
        const std::size_t at = head * padded + row;
        for (std::size_t four = 0; four < width / 4; ++four) {
          const std::size_t thread = row % 64 / 16 * 32 + row % 8 * 4 + row % 16 / 8 + four % 16 / 8 * 2;
          const std::uint32_t word = words[(at / 64 * (width / 64) + four / 16) * 128 + thread];
          const std::uint32_t pattern = word >> (four % 8 * 4) & 15U;
          std::array<std::int8_t, 4> group{};
          group[pattern & 3U] = static_cast<std::int8_t>(bytes[at * width / 2 + four * 2]);
          group[pattern >> 2U] = static_cast<std::int8_t>(bytes[at * width / 2 + four * 2 + 1]);
          values.insert(values.end(), group.begin(), group.end());
        }
      }
    }
    return values;
  }

  const GuardedMemory &workspace_;
  const DeviceRun &run_;
  const Shape &shape_;
  KernelSpec spec_;
  WorkspaceLayout layout_;
};

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

  const Placement q = place(shape.batch, problem.num_q_heads, shape.q_len, problem.head_dim, run.strided);
  const Placement kv = place(shape.batch, problem.num_kv_heads, shape.kv_len, problem.head_dim, run.strided);
  const GuardedMemory q_memory(device, q.elements * 2);
  const GuardedMemory k_memory(device, kv.elements * 2);
  const GuardedMemory v_memory(device, kv.elements * 2);
  const GuardedMemory out_memory(device, q.elements * 2);
  const std::size_t rows = tensors.q_rows();
  const GuardedMemory lse_memory(device, rows * 4);
  const std::size_t words = mask_words(problem, run.policy, shape);
  const GuardedMemory mask_memory(device, words * 4);
  const GuardedMemory workspace(device, plan.workspace_bytes(shape));
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

  Intermediates(workspace, run, tensors, parse_arch(engine.arch())).read(result);
  return result;
}

} // namespace sale::check
