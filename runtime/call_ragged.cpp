// SPDX-License-Identifier: Apache-2.0
// What only ragged calls have: lengths in device memory, pages, and the last values of each sequence.
#include "runtime/call.hpp"

#include "args/sequences_args.cuh"
#include "args/tails_args.cuh"

namespace sale {

Call::Call(const PlanKernels &plan, const RunArgs &args, cu::Stream stream, Timeline *timeline)
    : plan_(plan), args_(args), prepare_(plan.prepare.at(args.shape.kv_len, args.expected_density)),
      select_(plan.select.at(args.shape.kv_len, args.expected_density)), stream_(stream), timeline_(timeline),
      layout_(workspace_layout(plan.problem, plan.policy, args.shape, plan.code_row_bytes, plan.serving)),
      counters_(counters(plan.problem, plan.policy, args.shape.batch)), scale_(effective_softmax_scale(plan.problem)),
      tau_(args.tau != nullptr ? args.tau : static_cast<const float *>(plan.tau.data())), kbar_(kbar()),
      mask_(args.mask_out != nullptr ? args.mask_out : at<unsigned>(layout_.mask)), ragged_(ragged_arg()),
      paged_(paged_arg()) {}

RaggedArg Call::ragged_arg() const {
  RaggedArg a{};
  if (!plan_.serving.is_ragged()) {
    return a;
  }
  const Shape &shape = args_.shape;
  const Capacity capacity = capacity_of(plan_.policy, plan_.serving, shape);
  const bool packed_q = shape.total_q > 0;
  a.sequences = at<SequenceEntry>(layout_.sequences);
  a.counts = at<SequenceCounts>(layout_.sequence_counts);
  a.row_units = at<unsigned>(layout_.row_units);
  a.key_units = at<unsigned>(layout_.key_units);
  a.lse_stride = packed_q ? shape.total_q : shape.q_len;
  a.mask_stride = packed_q ? static_cast<long long>(capacity.mask_rows) : ceil_div(shape.q_len, plan_.policy.block_q);
  a.q_rows = static_cast<int>(capacity.q_rows);
  a.kv_rows = static_cast<int>(capacity.keys);
  a.slots = static_cast<int>(capacity.slots);
  a.q_batch = packed_q ? 0 : 1;
  a.kv_batch = shape.total_kv > 0 || plan_.serving.page_size > 0 ? 0 : 1;
  const bool shared = args_.kbar != nullptr ? args_.kbar_shared : plan_.kbar.data() != nullptr;
  a.kbar_stride = shared ? 0 : plan_.problem.num_kv_heads * plan_.problem.head_dim;
  a.dense_below = plan_.policy.dense_below;
  return a;
}

PagedArg Call::paged_arg() const {
  PagedArg a{};
  a.table = args_.block_table;
  a.table_stride = args_.block_table_stride;
  a.page_size = plan_.serving.page_size;
  a.num_pages = args_.num_pages;
  if (plan_.serving.code_cache) {
    const CodeCacheLayout cache =
        code_cache_layout(plan_.problem, plan_.serving, args_.num_pages, plan_.code_row_bytes);
    a.codes = static_cast<unsigned char *>(args_.code_cache);
    a.scales = reinterpret_cast<unsigned *>(a.codes + cache.scales);
    a.rows_per_box = plan_.serving.page_size % 128 == 0 ? 128 : plan_.serving.page_size % 64 == 0 ? 64 : 32;
  }
  return a;
}

void Call::sequences() const {
  const Shape &shape = args_.shape;
  SequencesArgs a{};
  a.cu_q = args_.cu_seqlens_q;
  a.cu_kv = args_.cu_seqlens_kv;
  a.q_lens = args_.q_lens;
  a.kv_lens = args_.kv_lens;
  a.q_positions = args_.q_positions;
  a.key_offsets = args_.key_offsets;
  a.coded_lens = args_.coded_lens;
  a.sequences = at<SequenceEntry>(layout_.sequences);
  a.counts = at<SequenceCounts>(layout_.sequence_counts);
  a.row_units = at<unsigned>(layout_.row_units);
  a.key_units = at<unsigned>(layout_.key_units);
  a.batch = shape.batch;
  a.q_len = shape.q_len;
  a.kv_len = shape.kv_len;
  a.total_q = shape.total_q;
  a.total_kv = shape.total_kv;
  a.num_q_heads = plan_.problem.num_q_heads;
  a.block_q = plan_.policy.block_q;
  a.q_rows = ragged_.q_rows;
  a.kv_rows = ragged_.kv_rows;
  a.slots = ragged_.slots;
  a.causal = plan_.problem.causal ? 1 : 0;
  a.sliding_window = plan_.problem.sliding_window;
  launch_grid(plan_.sequences, 1, 1, 1, a);
  mark(Stage::sequences);
}

void Call::tails() const {
  if (plan_.tails.module == nullptr) {
    return;
  }
  TailsArgs a{};
  a.v = tensor_arg(args_.v);
  a.tails = at<void>(layout_.v_tails);
  a.num_kv_heads = plan_.problem.num_kv_heads;
  set_sequences(a);
  launch_grid(plan_.tails, static_cast<unsigned>(a.num_kv_heads), static_cast<unsigned>(args_.shape.batch), 1, a);
  mark(Stage::tails);
}

} // namespace sale
