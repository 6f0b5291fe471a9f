// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/masks.hpp"

#include "bench/random_mask.hpp"
#include "reference/region.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace sale::autotune {

namespace {

constexpr double tolerance = 0.02;
constexpr double widest = 20; // thresholds from 2^-20 to 2^20 times the policy's
constexpr int most_steps = 10;
constexpr float usual_tau = 0.004F;

} // namespace

std::string policy_text(const Policy &p) {
  return fmt::format("{} q{} k{} sink {} window {} tau {} [{}] shift [{}] estimate {} [{}] [{}]{} {} {} dense below {}",
                     to_string(p.estimator), p.block_q, p.block_k, p.sink, p.window, p.tau,
                     fmt::join(p.tau_per_head, ","), fmt::join(p.shift_per_head, ","), p.estimate_dim,
                     fmt::join(p.channels, ","), fmt::join(p.projection, ","), p.prune_queries ? " pruned" : "",
                     p.fp8_attend ? "fp8 attend" : "16 bit attend", p.second_filter ? "filters" : "filters not",
                     p.dense_below);
}

const DeviceMask &Masks::get(const Plan &plan, const Input &input, const DeviceArray &workspace, float density) {
  const std::string name = fmt::format("{}; {}; density {}", input.name, policy_text(plan.policy()), density);
  const auto known = std::find_if(masks_.begin(), masks_.end(), [&](const DeviceMask &m) { return m.name == name; });
  if (known != masks_.end()) {
    return *known;
  }
  DeviceMask made = make(plan, input, workspace, density);
  made.name = name;
  return masks_.emplace_back(std::move(made));
}

DeviceMask Masks::make(const Plan &plan, const Input &input, const DeviceArray &workspace, float density) const {
  const Problem &problem = plan.problem();
  const Policy &policy = plan.policy();
  std::vector<float> usual(static_cast<std::size_t>(problem.num_q_heads));
  for (int head = 0; head < problem.num_q_heads; ++head) {
    usual[static_cast<std::size_t>(head)] = reference::tau_of(policy, head);
  }
  if (density > 0 && std::all_of(usual.begin(), usual.end(), [](float tau) { return tau == 0.0F; })) {
    std::fill(usual.begin(), usual.end(), usual_tau);
  }
  DeviceMask mask;
  std::vector<std::uint32_t> words(mask_words(problem, policy, input.shape));
  mask.words = DeviceArray(device_, words.size() * sizeof(words[0]));
  mask.tau = DeviceArray(device_, usual.size() * sizeof(float));
  RunArgs args = input.args();
  args.workspace = workspace.data();
  args.workspace_bytes = workspace.bytes();
  args.mask_out = static_cast<std::uint32_t *>(mask.words.data());
  args.tau = static_cast<const float *>(mask.tau.data());
  // With 2^power times the usual thresholds.
  const auto select = [&](double power) {
    std::vector<float> tau = usual;
    std::for_each(tau.begin(), tau.end(), [&](float &t) { t *= static_cast<float>(std::exp2(power)); });
    mask.tau.upload(tau.data());
    plan.select(args, nullptr);
    mask.words.download(words.data());
    mask.density = bench::mask_density(words, problem, policy, input.shape);
  };
  const auto is_good = [&] { return std::abs(mask.density - density) <= tolerance * density; };
  select(0);
  if (density <= 0 || is_good()) {
    return mask;
  }
  const bool too_full = mask.density > density;
  double low = too_full ? 0 : -widest; // gives more than the density
  double high = too_full ? widest : 0; // gives less
  select(too_full ? high : low);
  if (is_good() || (mask.density > density) == too_full) {
    return mask; // no threshold goes further
  }
  for (int step = 0; step < most_steps && !is_good(); ++step) {
    const double middle = (low + high) / 2;
    select(middle);
    (mask.density > density ? low : high) = middle;
  }
  return mask;
}

} // namespace sale::autotune
