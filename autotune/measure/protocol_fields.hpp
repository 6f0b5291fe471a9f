// SPDX-License-Identifier: Apache-2.0
// visit_fields(object, visit) calls visit(name, field) for every field of what the protocol carries. Each is taken
// apart whole, so that a field that is new does not compile before it is carried too.
#pragma once

#include "autotune/measure/protocol.hpp"

#include <concepts>
#include <type_traits>

namespace sale::autotune::protocol {

/// T or const T.
template <class Given, class T>
concept Either = std::same_as<std::remove_const_t<Given>, T>;

template <Either<Problem> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[dtype, head_dim, v_head_dim, num_q_heads, num_kv_heads, causal, softmax_scale, sliding_window, softcap,
         sink_logits, alibi, dropout, backward, kv_type] = object;
  visit("dtype", dtype);
  visit("head_dim", head_dim);
  visit("v_head_dim", v_head_dim);
  visit("num_q_heads", num_q_heads);
  visit("num_kv_heads", num_kv_heads);
  visit("causal", causal);
  visit("softmax_scale", softmax_scale);
  visit("sliding_window", sliding_window);
  visit("softcap", softcap);
  visit("sink_logits", sink_logits);
  visit("alibi", alibi);
  visit("dropout", dropout);
  visit("backward", backward);
  visit("kv_type", kv_type);
}

template <Either<Policy> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[estimator, block_q, block_k, sink, window, tau, tau_per_head, shift_per_head, kbar, estimate_dim, channels,
         projection, prune_queries, fp8_attend, second_filter, dense_below] = object;
  visit("estimator", estimator);
  visit("block_q", block_q);
  visit("block_k", block_k);
  visit("sink", sink);
  visit("window", window);
  visit("tau", tau);
  visit("tau_per_head", tau_per_head);
  visit("shift_per_head", shift_per_head);
  visit("kbar", kbar);
  visit("estimate_dim", estimate_dim);
  visit("channels", channels);
  visit("projection", projection);
  visit("prune_queries", prune_queries);
  visit("fp8_attend", fp8_attend);
  visit("second_filter", second_filter);
  visit("dense_below", dense_below);
}

template <Either<Arch> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[major_number, minor_number, specific] = object; // major and minor are macros of some C libraries
  visit("major", major_number);
  visit("minor", minor_number);
  visit("specific", specific);
}

template <Either<Tile> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[rows_per_warp, warps, keys_per_step, stages, min_ctas] = object;
  visit("rows_per_warp", rows_per_warp);
  visit("warps", warps);
  visit("keys_per_step", keys_per_step);
  visit("stages", stages);
  visit("min_ctas", min_ctas);
}

template <Either<KernelSpec> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[stage, arch, dtype, head_dim, v_head_dim, gqa, estimator, block_q, block_k, dense, estimate_dim, basis,
         prune_queries, fp8_attend, second_filter, causal, sliding, softcap, sink_logits, ragged, page_rows,
         coded_pages, parts, tile] = object;
  visit("stage", stage);
  visit("arch", arch);
  visit("dtype", dtype);
  visit("head_dim", head_dim);
  visit("v_head_dim", v_head_dim);
  visit("gqa", gqa);
  visit("estimator", estimator);
  visit("block_q", block_q);
  visit("block_k", block_k);
  visit("dense", dense);
  visit("estimate_dim", estimate_dim);
  visit("basis", basis);
  visit("prune_queries", prune_queries);
  visit("fp8_attend", fp8_attend);
  visit("second_filter", second_filter);
  visit("causal", causal);
  visit("sliding", sliding);
  visit("softcap", softcap);
  visit("sink_logits", sink_logits);
  visit("ragged", ragged);
  visit("page_rows", page_rows);
  visit("coded_pages", coded_pages);
  visit("parts", parts);
  visit("tile", tile);
}

template <Either<Task> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[problem, policy, kernel, tokens, density] = object;
  visit("problem", problem);
  visit("policy", policy);
  visit("kernel", kernel);
  visit("tokens", tokens);
  visit("density", density);
}

template <Either<AskMeasure> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[task, tiles, rounds] = object;
  visit("task", task);
  visit("tiles", tiles);
  visit("rounds", rounds);
}

template <Either<AskCheck> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[task, tile] = object;
  visit("task", task);
  visit("tile", tile);
}

template <Either<Step> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[work, tile] = object;
  visit("work", work);
  visit("tile", tile);
}

template <Either<GpuId> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[name, arch, multiprocessors] = object;
  visit("name", name);
  visit("arch", arch);
  visit("multiprocessors", multiprocessors);
}

template <Either<GpuParameters> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[multiprocessors, clock_ghz, mma_flops_per_clock, l2_bytes_per_clock, measured] = object;
  visit("multiprocessors", multiprocessors);
  visit("clock_ghz", clock_ghz);
  visit("mma_flops_per_clock", mma_flops_per_clock);
  visit("l2_bytes_per_clock", l2_bytes_per_clock);
  visit("measured", measured);
}

template <Either<Measurement> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[outcome, why, ms] = object;
  visit("outcome", outcome);
  visit("why", why);
  visit("ms", ms);
}

template <Either<Rounds> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[of, disturbed] = object;
  visit("of", of);
  visit("disturbed", disturbed);
}

template <Either<PolicyCalls> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[problem, policies, tokens] = object;
  visit("problem", problem);
  visit("policies", policies);
  visit("tokens", tokens);
}

template <Either<AskPolicies> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[calls, rounds] = object;
  visit("calls", calls);
  visit("rounds", rounds);
}

template <Either<PolicyRounds> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[rounds, density] = object;
  visit("rounds", rounds);
  visit("density", density);
}

template <Either<Refusal> T, class Visit>
void visit_fields(T &object, const Visit &visit) {
  auto &[kind, what] = object;
  visit("kind", kind);
  visit("what", what);
}

} // namespace sale::autotune::protocol
