// SPDX-License-Identifier: Apache-2.0
#include "runtime/arguments.hpp"

#include "runtime/extents.hpp"
#include "runtime/workspace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>

namespace sale {

namespace {

constexpr std::uintptr_t row_alignment = 16;
constexpr int stride_multiple = 8;
constexpr std::int64_t element_bytes = 2;

struct Dimensions {
  int batch;
  int heads;
  int tokens;
  int head_dim;
};

Dimensions dimensions(const Extents &extents, int head_dim) {
  return {extents.batch, extents.heads, extents.tokens, head_dim};
}

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

bool misaligned(const void *pointer, std::uintptr_t alignment) {
  return reinterpret_cast<std::uintptr_t>(pointer) % alignment != 0;
}

void check_stride(const char *tensor, const char *stride, std::int64_t value) {
  if (value % stride_multiple != 0) {
    refuse(fmt::format("{}.{} {} is not a multiple of {} elements; rows must start on 16-byte boundaries", tensor,
                       stride, value, stride_multiple));
  }
}

void check_tensor(const char *name, const TensorView &view, int tokens) {
  if (view.data == nullptr) {
    refuse(fmt::format("{}.data is null; it must be device memory", name));
  }
  if (misaligned(view.data, row_alignment)) {
    refuse(fmt::format("{}.data is not 16-byte aligned", name));
  }
  check_stride(name, "stride_batch", view.stride_batch);
  check_stride(name, "stride_head", view.stride_head);
  check_stride(name, "stride_token", view.stride_token);
  if (view.stride_token == 0 && tokens > 1) {
    refuse(fmt::format("{}.stride_token is 0 with {} tokens; strides are in elements (packed_view fills them in)", name,
                       tokens));
  }
}

// Writing one element twice is a race, never a layout: each dimension must step over all of the smaller ones.
void check_distinct_rows(const TensorView &out, const Dimensions &size) {
  std::array<std::pair<std::int64_t, int>, 3> dimensions = {{{std::abs(out.stride_batch), size.batch},
                                                             {std::abs(out.stride_head), size.heads},
                                                             {std::abs(out.stride_token), size.tokens}}};
  std::sort(dimensions.begin(), dimensions.end());
  std::int64_t extent = size.head_dim;
  for (const auto &[stride, count] : dimensions) {
    if (count > 1 && stride < extent) {
      refuse(fmt::format("rows of out overlap: strides {}, {} and {} of batch, head and token are too small for {} "
                         "sequences of {} heads of {} tokens of {} elements",
                         out.stride_batch, out.stride_head, out.stride_token, size.batch, size.heads, size.tokens,
                         size.head_dim));
    }
    extent += stride * (count - 1);
  }
}

// The bytes from a tensor's first element to its last.
struct Range {
  std::uintptr_t begin;
  std::uintptr_t end;
};

Range range_of(const TensorView &view, const Dimensions &size) {
  std::int64_t low = 0;
  std::int64_t high = size.head_dim;
  for (const std::int64_t last : {view.stride_batch * (size.batch - 1), view.stride_head * (size.heads - 1),
                                  view.stride_token * (size.tokens - 1)}) {
    (last < 0 ? low : high) += last;
  }
  const auto data = reinterpret_cast<std::uintptr_t>(view.data);
  return {data + static_cast<std::uintptr_t>(element_bytes * low),
          data + static_cast<std::uintptr_t>(element_bytes * high)};
}

// Whether both are different columns of one matrix with a row for each token, as the parts of a fused buffer are.
bool side_by_side(const TensorView &input, const TensorView &out, const Dimensions &input_size,
                  const Dimensions &out_size) {
  const std::int64_t row = out.stride_token;
  if (row <= 0 || input.stride_token != row || input.stride_head < 0 || out.stride_head < 0) {
    return false;
  }
  if (out_size.batch > 1 && (input.stride_batch % row != 0 || out.stride_batch % row != 0)) {
    return false;
  }
  const std::int64_t input_width = input.stride_head * (input_size.heads - 1) + input_size.head_dim;
  const std::int64_t out_width = out.stride_head * (out_size.heads - 1) + out_size.head_dim;
  const std::int64_t apart = (static_cast<char *>(out.data) - static_cast<char *>(input.data)) / element_bytes % row;
  const std::int64_t column = apart < 0 ? apart + row : apart;
  return column >= input_width && column + out_width <= row;
}

void check_apart(const char *name, const TensorView &input, const TensorView &out, const Dimensions &input_size,
                 const Dimensions &out_size) {
  const Range a = range_of(input, input_size);
  const Range b = range_of(out, out_size);
  if (a.begin < b.end && b.begin < a.end && !side_by_side(input, out, input_size, out_size)) {
    refuse(fmt::format("out must not overlap q, k or v; it overlaps {}", name));
  }
}

// What only attend touches.
void check_values(const RunArgs &args, const Dimensions &queries, const Dimensions &keys, int v_head_dim) {
  Dimensions values = keys;
  Dimensions outputs = queries;
  values.head_dim = outputs.head_dim = v_head_dim;
  check_tensor("v", args.v, keys.tokens);
  check_tensor("out", args.out, queries.tokens);
  check_distinct_rows(args.out, outputs);
  check_apart("q", args.q, args.out, queries, outputs);
  check_apart("k", args.k, args.out, keys, outputs);
  check_apart("v", args.v, args.out, values, outputs);
}

// What the plan's kernels do not read would be ignored in silence.
void check_basis(const RunArgs &args, const Policy &policy) {
  if (args.channels != nullptr && (policy.estimate_dim == 0 || !policy.projection.empty())) {
    refuse("channels is given, but the plan's estimate uses every channel; prepare it with policy.estimate_dim and "
           "without a projection");
  }
  if (args.projection != nullptr && policy.projection.empty()) {
    refuse("projection is given, but the plan was prepared without one; give policy.projection");
  }
}

void check_sink_logits(const RunArgs &args, const Problem &problem) {
  if (problem.sink_logits && args.sink_logits == nullptr) {
    refuse("sink_logits is null; the plan was prepared with problem.sink_logits, so give one number per query head");
  }
  if (!problem.sink_logits && args.sink_logits != nullptr) {
    refuse("sink_logits is given, but the plan was prepared without them; set problem.sink_logits");
  }
}

void check_aligned(const char *name, const void *pointer, std::uintptr_t alignment) {
  if (misaligned(pointer, alignment)) {
    refuse(fmt::format("{} is not {}-byte aligned", name, alignment));
  }
}

void check_masks(const RunArgs &args, RunMode mode) {
  if (mode == RunMode::dense && (args.mask_in != nullptr || args.mask_out != nullptr)) {
    refuse("run_dense neither reads nor writes a mask; set mask_in and mask_out to null");
  }
  if (mode == RunMode::select && (args.mask_out == nullptr || args.mask_in != nullptr)) {
    refuse("select writes a mask and reads none; set mask_out to device memory and mask_in to null");
  }
  if (args.mask_in != nullptr && args.mask_out != nullptr) {
    refuse("mask_in and mask_out are both given; with mask_in nothing is selected, so set one of them to null");
  }
  check_aligned("mask_in", args.mask_in, row_alignment);
  check_aligned("mask_out", args.mask_out, row_alignment);
}

void check_workspace(const RunArgs &args, std::size_t needed) {
  if (args.workspace == nullptr) {
    refuse(
        fmt::format("workspace is null; this shape needs {} bytes of device memory (Plan::workspace_bytes)", needed));
  }
  check_aligned("workspace", args.workspace, workspace_alignment);
  if (args.workspace_bytes < needed) {
    refuse(fmt::format("workspace_bytes {} is too small; this shape needs {} (Plan::workspace_bytes)",
                       args.workspace_bytes, needed));
  }
}

} // namespace

void validate(const RunArgs &args, const Problem &problem, const Policy &policy, std::size_t workspace_bytes,
              RunMode mode, const Serving &serving) {
  validate(args.shape, problem, serving);
  check_masks(args, mode);
  const Shape &shape = args.shape;
  if (shape.batch == 0 || shape.q_len == 0) {
    return;
  }
  validate_serving(args, policy, serving);
  const Dimensions queries = dimensions(query_extents(problem, shape), problem.head_dim);
  const Dimensions keys = dimensions(key_extents(problem, serving, args), problem.head_dim);
  check_tensor("q", args.q, queries.tokens);
  check_tensor("k", args.k, keys.tokens);
  if (mode != RunMode::select) {
    check_values(args, queries, keys, effective_v_head_dim(problem));
  }
  if (!(args.expected_density >= 0.0F && args.expected_density <= 1.0F)) {
    refuse(fmt::format("expected_density {} is not between 0 and 1", args.expected_density));
  }
  check_aligned("lse", args.lse, alignof(float));
  check_aligned("tau", args.tau, alignof(float));
  check_aligned("shift", args.shift, alignof(float));
  check_aligned("kbar", args.kbar, row_alignment);
  check_aligned("channels", args.channels, alignof(std::int32_t));
  check_aligned("projection", args.projection, row_alignment);
  check_aligned("sink_logits", args.sink_logits, alignof(float));
  check_aligned("threshold_in", args.threshold_in, alignof(float));
  check_aligned("threshold_out", args.threshold_out, alignof(float));
  check_sink_logits(args, problem);
  check_basis(args, policy);
  const bool selects = mode != RunMode::dense && args.mask_in == nullptr;
  if (selects || policy.fp8_attend || serving.is_ragged() || serving.counted) {
    check_workspace(args, workspace_bytes);
  }
}

void validate(const MergeArgs &args, const Problem &problem, const Serving &serving) {
  if (!serving.parts) {
    refuse("merge needs a plan prepared with serving.parts");
  }
  Shape shape = args.shape;
  shape.kv_len = 1;
  shape.total_kv = 0;
  validate(shape, problem, serving);
  if (shape.batch == 0 || shape.q_len == 0) {
    return;
  }
  for (const auto &[name, pointer] :
       {std::pair<const char *, const float *>("lse_a", args.lse_a), {"lse_b", args.lse_b}, {"lse", args.lse}}) {
    if (pointer == nullptr) {
      refuse(fmt::format("{} is null; it must be device memory", name));
    }
    check_aligned(name, pointer, alignof(float));
  }
  if (args.out.data == nullptr) {
    return;
  }
  const Dimensions size = dimensions(query_extents(problem, shape), effective_v_head_dim(problem));
  check_tensor("out_a", args.out_a, size.tokens);
  check_tensor("out_b", args.out_b, size.tokens);
  check_tensor("out", args.out, size.tokens);
  check_distinct_rows(args.out, size);
}

TensorView packed_view(void *data, int heads, int tokens, int head_dim) {
  const std::int64_t token = head_dim;
  const std::int64_t head = token * tokens;
  return {data, head * heads, head, token};
}

} // namespace sale
