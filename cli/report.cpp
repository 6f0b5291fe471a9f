// SPDX-License-Identifier: Apache-2.0
#include "cli/report.hpp"

#include "cli/text.hpp"

#include "reference/element.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace sale::cli {

namespace {

using Json = nlohmann::ordered_json;

std::string line(const char *label, const std::string &text) { return fmt::format("{:<9}{}\n", label, text); }

std::string plural(int count, const char *thing) { return fmt::format("{} {}{}", count, thing, count == 1 ? "" : "s"); }

std::string tau_text(const Policy &policy) {
  if (policy.tau_per_head.empty()) {
    return fmt::format("{}", policy.tau);
  }
  const auto [low, high] = std::minmax_element(policy.tau_per_head.begin(), policy.tau_per_head.end());
  return fmt::format("{} to {} (per head)", *low, *high);
}

std::string per_head_text(const std::vector<double> &values) {
  constexpr std::size_t most = 16;
  std::string text;
  for (std::size_t head = 0; head < std::min(most, values.size()); ++head) {
    text += fmt::format("{}{:.1f}", head > 0 ? " " : "", 100.0 * values[head]);
  }
  return text + (values.size() > most ? " ... %" : " %");
}

std::string times_text(const StageTimes &times) {
  std::string stages;
  const auto add = [&](const char *name, double milliseconds) {
    if (milliseconds > 0.0) {
      stages += fmt::format("{}{} {:.3f}", stages.empty() ? ": " : ", ", name, milliseconds);
    }
  };
  add("mean", times.mean);
  add("channels", times.channels);
  add("quantize", times.quantize);
  add("amax", times.amax);
  add("values", times.values);
  add("prepare", times.prepare);
  add("select", times.select);
  add("attend", times.attend);
  return fmt::format("{:.3f} ms{}", times.total, stages);
}

Json kernels_json(const std::vector<KernelInfo> &kernels) {
  Json list = Json::array();
  for (const KernelInfo &kernel : kernels) {
    list.push_back({{"name", kernel.name},
                    {"arch", kernel.arch},
                    {"key", kernel.key},
                    {"from_cache", kernel.from_cache},
                    {"registers", kernel.registers},
                    {"spill_bytes", kernel.spill_bytes},
                    {"shared_memory", kernel.shared_memory},
                    {"binary_bytes", kernel.binary_bytes},
                    {"ms", kernel.milliseconds}});
  }
  return list;
}

Json quality_json(const Quality &quality) {
  const reference::Recall &recall = quality.recall;
  return {{"dense_by", quality.dense_by},
          {"rel_l1", quality.rel_l1},
          {"cosine", quality.cosine},
          {"recall", {{"mean", recall.mean}, {"p1", recall.p1}, {"min", recall.min}}},
          {"hit_mass", quality.hit_mass}};
}

} // namespace

Report make_report(const std::string &input, const io::Qkv &qkv, const Policy &policy, const Outcome &outcome) {
  Report report;
  report.input = input;
  report.problem = qkv.problem;
  report.shape = qkv.shape;
  report.policy = policy;
  report.device = outcome.device;
  report.arch = outcome.arch;
  report.density = reference::density(outcome.mask, policy, qkv.problem, qkv.shape);
  report.times = outcome.times;
  report.kernels = outcome.kernels;
  if (outcome.dense) {
    const std::vector<float> out = reference::to_floats(outcome.out, qkv.problem.dtype);
    report.quality = Quality{outcome.dense->by,
                             outcome.dense->milliseconds,
                             reference::rel_l1(out, outcome.dense->out),
                             reference::cosine(out, outcome.dense->out),
                             reference::recall(outcome.lse, outcome.dense->lse),
                             outcome.dense->hit_mass};
  }
  return report;
}

std::string report_text(const Report &report) {
  const Problem &problem = report.problem;
  const Policy &policy = report.policy;
  std::string text;
  text += line("input", fmt::format("{}: {}{}, {} over {}, {}, {} queries, {} keys", report.input,
                                    report.shape.batch > 1 ? fmt::format("batch {}, ", report.shape.batch) : "",
                                    to_string(problem.dtype), plural(problem.num_q_heads, "query head"),
                                    plural(problem.num_kv_heads, "KV head"), head_dims_text(problem),
                                    report.shape.q_len, report.shape.kv_len));
  text += line("policy",
               fmt::format("tau {}, estimator {}, blocks {} x {}, sink {}, window {}", tau_text(policy),
                           to_string(policy.estimator), policy.block_q, policy.block_k, policy.sink, policy.window));
  text += line("device", report.arch.empty() ? "CPU oracle" : fmt::format("{}, {}", report.device, report.arch));
  text +=
      line("density", fmt::format("{:.2f} % of the visible blocks kept, {:.2f} % of the estimated ones; per head {}",
                                  100.0 * report.density.total, 100.0 * report.density.estimated,
                                  per_head_text(report.density.per_head)));
  if (report.quality) {
    const Quality &quality = *report.quality;
    text += line("error", fmt::format("rel-L1 {:.3e}, cosine {:.6f} against dense attention (by {})", quality.rel_l1,
                                      quality.cosine, quality.dense_by));
    text += line("recall", fmt::format("mean {:.4f}, 1st percentile {:.4f}, minimum {:.4f} of the attention mass",
                                       quality.recall.mean, quality.recall.p1, quality.recall.min));
  }
  text += line("time", times_text(report.times));
  if (report.quality) {
    text += line("", fmt::format("dense {:.3f} ms: {:.2f} times as long", report.quality->dense_milliseconds,
                                 report.quality->dense_milliseconds / report.times.total));
  }
  return text;
}

std::string report_json(const Report &report) {
  const Problem &problem = report.problem;
  const Policy &policy = report.policy;
  const StageTimes &times = report.times;
  Json json = {
      {"schema", 1},
      {"version", SALE_VERSION},
      {"input",
       {{"file", report.input},
        {"dtype", to_string(problem.dtype)},
        {"batch", report.shape.batch},
        {"num_q_heads", problem.num_q_heads},
        {"num_kv_heads", problem.num_kv_heads},
        {"head_dim", problem.head_dim},
        {"v_head_dim", effective_v_head_dim(problem)},
        {"q_len", report.shape.q_len},
        {"kv_len", report.shape.kv_len},
        {"softmax_scale", effective_softmax_scale(problem)}}},
      {"policy",
       {{"block_q", policy.block_q}, {"block_k", policy.block_k}, {"sink", policy.sink}, {"window", policy.window}}},
      {"estimator", to_string(policy.estimator)},
      {"device", report.device},
      {"density",
       {{"total", report.density.total},
        {"estimated", report.density.estimated},
        {"per_head", report.density.per_head}}},
      {"ms",
       {{"mean", times.mean},
        {"channels", times.channels},
        {"quantize", times.quantize},
        {"amax", times.amax},
        {"values", times.values},
        {"prepare", times.prepare},
        {"select", times.select},
        {"attend", times.attend},
        {"total", times.total}}}};
  if (policy.tau_per_head.empty()) {
    json["policy"]["tau"] = policy.tau;
  } else {
    json["policy"]["tau"] = policy.tau_per_head;
  }
  if (!policy.shift_per_head.empty()) {
    json["policy"]["shift"] = policy.shift_per_head;
  }
  if (!report.arch.empty()) {
    json["arch"] = report.arch;
  }
  if (report.quality) {
    json["ms"]["dense"] = report.quality->dense_milliseconds;
    json["quality"] = quality_json(*report.quality);
  }
  if (report.max_rel_l1) {
    json["check"] = {{"max_rel_l1", *report.max_rel_l1}, {"met", report.check_met()}};
  }
  json["kernels"] = kernels_json(report.kernels);
  return json_text(json);
}

} // namespace sale::cli
