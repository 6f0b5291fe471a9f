// SPDX-License-Identifier: Apache-2.0
// attend, and the codes that it reads with fp8_attend.
#include "runtime/call.hpp"

#include "args/amax_args.cuh"
#include "args/attend_args.cuh"
#include "args/values_args.cuh"
#include "runtime/tensor_maps.hpp"

namespace sale {

void Call::encode(bool selected) const {
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
  amax();
  values();
}

void Call::attend(const Kernel &kernel, const std::uint32_t *mask, bool selected) const {
  if (kernel.spec.fp8_attend) {
    attend_fp8(kernel, mask, selected);
  } else if (kernel.spec.family() == KernelFamily::wgmma) {
    tails();
    attend_wgmma(kernel, mask, selected);
  } else {
    attend_mma_sync(kernel, mask);
  }
  mark(Stage::attend);
}

void Call::attend_mma_sync(const Kernel &kernel, const std::uint32_t *mask) const {
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
  set_variants(a);
  set_sequences(a);
  launch_rows(kernel, kernel.spec.tile.rows(), plan_.problem.num_q_heads, a);
}

TensorMap Call::map_16_bit(const TensorView &view, const Extents &extents, int head_dim, int box_rows) const {
  return map_tensor(plan_.device->driver(), view, plan_.problem.dtype, extents.batch, extents.heads, extents.tokens,
                    head_dim, box_rows);
}

// Codes of K in the workspace. Ragged: all heads are one run of rows.
TensorMap Call::map_keys(const WorkspacePiece &codes, int row_bytes, int box_rows) const {
  const Driver &driver = plan_.device->driver();
  const int heads = plan_.problem.num_kv_heads;
  if (ragged_.slots > 0) {
    return map_codes(driver, at<void>(codes), 1, heads * ragged_.kv_rows, row_bytes, box_rows);
  }
  return map_codes(driver, at<void>(codes), args_.shape.batch * heads, args_.shape.kv_len, row_bytes, box_rows);
}

void Call::attend_wgmma(const Kernel &kernel, const std::uint32_t *mask, bool selected) const {
  const int box_rows = kernel.spec.keys_per_box();
  const Extents keys = key_extents(plan_.problem, plan_.serving, args_);
  AttendWgmmaArgs a{};
  const int v_head_dim = effective_v_head_dim(plan_.problem);
  a.k = map_16_bit(args_.k, keys, plan_.problem.head_dim, box_rows);
  a.v = map_16_bit(args_.v, keys, v_head_dim, box_rows);
  if (plan_.tails.module != nullptr) {
    const int heads = plan_.problem.num_kv_heads;
    const TensorView tails = packed_view(at<void>(layout_.v_tails), heads, group_keys, v_head_dim);
    a.v_tail = map_16_bit(tails, {args_.shape.batch, heads, group_keys}, v_head_dim, box_rows);
  }
  launch_attend(kernel, mask, selected, a);
}

void Call::attend_fp8(const Kernel &kernel, const std::uint32_t *mask, bool selected) const {
  const bool own_codes = plan_.quantize_all.module != nullptr;
  AttendWgmmaArgs a{};
  a.k =
      map_keys(own_codes ? layout_.all_k_codes : layout_.k_codes, plan_.problem.head_dim, kernel.spec.keys_per_copy());
  a.v_codes = at<unsigned char>(layout_.v_codes);
  a.scales = at<unsigned>(layout_.kv_scales);
  a.v_amax = v_amax();
  a.kbar = kbar_;
  launch_attend(kernel, mask, selected, a);
}

void Call::launch_attend(const Kernel &kernel, const std::uint32_t *mask, bool selected, AttendWgmmaArgs &a) const {
  const Problem &problem = plan_.problem;
  const Shape &shape = args_.shape;
  a.q = map_16_bit(args_.q, query_extents(problem, shape), problem.head_dim, warpgroup_rows);
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
  set_variants(a);
  set_sequences(a);
  launch_persistent(kernel, problem.num_q_heads * row_tiles(kernel.spec.tile.rows()), a);
}

void Call::amax() const {
  AmaxArgs a{};
  a.x = tensor_arg(args_.v);
  a.amax = v_amax();
  a.heads = plan_.problem.num_kv_heads;
  a.len = args_.shape.kv_len;
  a.tokens_per_split = amax_tokens;
  set_sequences(a);
  launch(plan_.amax, ceil_div(a.len, amax_tokens), a.heads, a);
  mark(Stage::amax);
}

void Call::values() const {
  ValuesArgs a{};
  a.v = tensor_arg(args_.v);
  a.k_scales = at<unsigned>(plan_.quantize_all.module != nullptr ? layout_.all_k_scales : layout_.k_scales);
  a.amax = v_amax();
  a.codes = at<unsigned char>(layout_.v_codes);
  a.scales = at<unsigned>(layout_.kv_scales);
  a.num_kv_heads = plan_.problem.num_kv_heads;
  a.kv_len = args_.shape.kv_len;
  set_sequences(a);
  launch_key_groups(plan_.values, 4 * ceil_div(a.kv_len, 4 * group_keys), a);
  mark(Stage::values);
}

} // namespace sale
