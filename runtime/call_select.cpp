// SPDX-License-Identifier: Apache-2.0
// What makes the mask: every stage before attend.
#include "runtime/call.hpp"

#include "args/channels_args.cuh"
#include "args/mean_args.cuh"
#include "args/prepare_args.cuh"
#include "args/quantize_args.cuh"
#include "args/select_args.cuh"
#include "args/select_wgmma_args.cuh"
#include "runtime/tensor_maps.hpp"

namespace sale {

void Call::select_blocks() const {
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

void Call::keep_all() const { select(static_cast<const float *>(plan_.zeros.data())); }

const float *Call::kbar() const {
  if (args_.kbar != nullptr) {
    return args_.kbar;
  }
  return means_keys() || repeats_kbar() ? at<float>(layout_.kbar) : static_cast<const float *>(plan_.kbar.data());
}

void Call::repeat_kbar() const {
  const Driver &driver = plan_.device->driver();
  const auto to = reinterpret_cast<cu::Address>(at<void>(layout_.kbar));
  const auto copy = [&](std::size_t first, cu::Address from, std::size_t bytes) {
    driver.check(driver.api.copy_on_device(to + first, from, bytes, stream_), "cuMemcpyDtoDAsync");
  };
  const std::size_t all = static_cast<std::size_t>(args_.shape.batch) * plan_.kbar.bytes();
  copy(0, reinterpret_cast<cu::Address>(plan_.kbar.data()), plan_.kbar.bytes());
  // What is there is copied behind itself, so that large batches take few copies.
  for (std::size_t done = plan_.kbar.bytes(); done < all; done *= 2) {
    copy(done, to, std::min(done, all - done));
  }
}

void Call::means(bool of_queries) const {
  const bool of_keys = means_keys();
  if (repeats_kbar()) {
    repeat_kbar();
  }
  if (!of_keys && !of_queries) {
    return;
  }
  if (of_keys) {
    MeanArgs a{};
    set_sequences(a);
    a.x = tensor_arg(args_.k);
    a.mean = at<float>(layout_.kbar);
    a.partial = at<float>(layout_.kbar_partial);
    mean(a, plan_.problem.num_kv_heads, args_.shape.kv_len, counters_.keys);
  }
  if (of_queries) {
    MeanArgs a{};
    a.ragged = ragged_;
    a.of_queries = 1;
    a.x = tensor_arg(args_.q);
    a.mean = at<float>(layout_.qbar);
    a.partial = at<float>(layout_.qbar_partial);
    mean(a, plan_.problem.num_q_heads, args_.shape.q_len, counters_.queries);
  }
  mark(Stage::mean);
}

void Call::mean(MeanArgs &a, int heads, int len, int first_counter) const {
  const MeanSplit split = split_mean(len);
  a.arrived = at<unsigned>(layout_.counters) + first_counter;
  a.heads = heads;
  a.len = len;
  a.splits = split.splits;
  a.tokens_per_split = split.tokens_per_split;
  launch(plan_.mean, static_cast<unsigned>(split.splits), heads, a);
}

const int *Call::channels_used() const {
  if (args_.channels != nullptr) {
    return args_.channels;
  }
  const auto *planned = static_cast<const int *>(plan_.channels_used.data());
  return planned != nullptr ? planned : at<int>(layout_.channels);
}

bool Call::channels_are_chosen() const { return args_.channels == nullptr && plan_.channels_used.data() == nullptr; }

std::int64_t Call::channels_stride() const {
  return channels_are_chosen() ? std::int64_t{plan_.problem.num_kv_heads} * plan_.policy.estimate_dim : 0;
}

const float *Call::projection() const {
  return args_.projection != nullptr ? args_.projection : static_cast<const float *>(plan_.projection.data());
}

void Call::channels() const {
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
  set_sequences(a);
  launch(plan_.channels, static_cast<unsigned>(a.splits), a.num_kv_heads, a);
  mark(Stage::channels);
}

void Call::quantize(const Kernel &kernel, const WorkspacePiece &codes, const WorkspacePiece &scales) const {
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
  set_sequences(a);
  launch_key_groups(kernel, ceil_div(args_.shape.kv_len, group_keys), a);
  mark(Stage::quantize);
}

void Call::prepare() const {
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
  a.threshold_in = args_.threshold_in;
  a.threshold_out = args_.threshold_out;
  set_variants(a);
  // A CTA takes one query block of as many query heads of a KV head as its tile has room for.
  const int heads = prepare_.spec.tile.rows() / plan_.policy.block_q;
  const unsigned head_groups = plan_.problem.num_kv_heads * ceil_div(prepare_.spec.gqa, heads);
  set_sequences(a);
  launch_rows(prepare_, plan_.policy.block_q, static_cast<int>(head_groups), a);
  mark(Stage::prepare);
}

void Call::select(const float *tau) const {
  if (select_.spec.family() == KernelFamily::wgmma) {
    select_wgmma(tau);
  } else {
    select_mma_sync(tau);
  }
  mark(Stage::select);
}

void Call::select_wgmma(const float *tau) const {
  const Problem &problem = plan_.problem;
  const Shape &shape = args_.shape;
  const Tile &tile = select_.spec.tile;
  SelectWgmmaArgs a{};
  if (plan_.serving.code_cache) {
    a.k_codes = map_code_pages(plan_.device->driver(), paged_.codes, paged_.num_pages, problem.num_kv_heads,
                               paged_.page_size, plan_.code_row_bytes, paged_.rows_per_box);
  } else {
    a.k_codes = map_keys(layout_.k_codes, plan_.code_row_bytes, tile.keys_per_step);
  }
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
  a.sliding_window = plan_.problem.sliding_window;
  set_sequences(a);
  // An item has so many 64 rows, of whichever query heads of a KV head's group.
  const int gqa = problem.num_q_heads / problem.num_kv_heads;
  const bool ragged = ragged_.slots > 0;
  const std::int64_t groups = ragged ? ragged_.slots : shape.batch;
  const unsigned pieces = gqa * ceil_div(ragged ? unit_rows : a.q_len, warpgroup_rows);
  launch_persistent(
      select_, groups * problem.num_kv_heads * ceil_div(static_cast<int>(pieces), tile.rows() / warpgroup_rows), a);
}

void Call::select_mma_sync(const float *tau) const {
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
  a.sliding_window = plan_.problem.sliding_window;
  set_sequences(a);
  launch_rows(select_, select_.spec.tile.rows(), a.num_q_heads, a);
}

} // namespace sale
