// SPDX-License-Identifier: Apache-2.0
#include "calibrate/calibrate.hpp"

#include "calibrate/channels.hpp"
#include "reference/region.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sale {

using reference::Tensors;

namespace {

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

/// An input and its blocks.
struct Measured {
  const Tensors *tensors;
  std::vector<HeadBlocks> heads;
};

std::vector<Measured> measure(const CalibrationGoal &goal, const Policy &policy, const std::vector<Tensors> &inputs) {
  std::vector<Measured> result;
  for (const Tensors &tensors : inputs) {
    Measured measured{&tensors, exact_blocks(tensors, policy, goal.softmax_scale)};
    estimate_blocks(tensors, policy, goal.softmax_scale, measured.heads);
    result.push_back(std::move(measured));
  }
  return result;
}

Figures judge(const std::vector<Measured> &judges, const Policy &policy, int head, double shift, Part part) {
  Figures figures;
  for (const Measured &input : judges) {
    figures += figures_of(input.heads[head], policy, input.tensors->shape, shift, part);
  }
  return figures;
}

/// The estimator must have something to judge in every part that is used.
void require_estimated_blocks(const std::vector<Measured> &inputs, const Policy &policy, Part part, const char *what) {
  if (judge(inputs, policy, 0, 0.0, part).estimated == 0) {
    refuse(fmt::format("too few tokens to {}: every key block of the query blocks used is within sink {} or window {}",
                       what, policy.sink, policy.window));
  }
}

} // namespace

void require_same_heads(const std::vector<Tensors> &inputs, const Tensors &first) {
  for (const Tensors &input : inputs) {
    if (input.num_q_heads != first.num_q_heads || input.num_kv_heads != first.num_kv_heads ||
        input.head_dim != first.head_dim) {
      refuse(fmt::format("inputs of one layer must have the same heads: one has {} query heads over {} KV heads of {}, "
                         "another {} over {} of {}",
                         first.num_q_heads, first.num_kv_heads, first.head_dim, input.num_q_heads, input.num_kv_heads,
                         input.head_dim));
    }
  }
}

LayerCalibration calibrate_layer(const CalibrationGoal &goal, const std::vector<Tensors> &samples,
                                 const std::vector<Tensors> &judges) {
  const Tensors &first = samples.front();
  require_same_heads(samples, first);
  require_same_heads(judges, first);
  const bool split = judges.empty();
  const Part part = split ? Part::even : Part::whole;

  LayerCalibration result;
  result.policy = goal.policy;
  result.head_dim = first.head_dim;
  Policy &policy = result.policy;
  choose_estimate(policy, samples, goal.project, part);

  const std::vector<Measured> measured = measure(goal, policy, samples);
  const std::vector<Measured> others = measure(goal, policy, judges);
  const std::vector<Measured> &judging = split ? measured : others;
  const Part judging_part = split ? Part::odd : Part::whole;
  require_estimated_blocks(measured, policy, part, "calibrate on");
  require_estimated_blocks(judging, policy, judging_part, "judge on");

  policy.shift_per_head.clear();
  for (int h = 0; h < first.num_q_heads; ++h) {
    std::vector<const HeadBlocks *> lists;
    lists.reserve(measured.size());
    for (const Measured &input : measured) {
      lists.push_back(&input.heads[h]);
    }
    HeadCalibration head;
    head.shift = smallest_shift(lists, goal.hit_mass, part);
    head.shift.nats = std::max(head.shift.nats, goal.least_shift);
    head.before = judge(judging, policy, h, reference::shift_of(goal.policy, h), judging_part);
    head.after = judge(judging, policy, h, head.shift.nats, judging_part);
    policy.shift_per_head.push_back(head.shift.nats);
    result.heads.push_back(head);
  }
  return result;
}

} // namespace sale
