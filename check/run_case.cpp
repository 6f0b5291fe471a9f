// SPDX-License-Identifier: Apache-2.0
#include "check/run_case.hpp"

#include "generator/arch.hpp"
#include "reference/means.hpp"
#include "reference/region.hpp"
#include "reference/run.hpp"
#include "reference/synthetic.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <random>

namespace sale::check {

namespace {

// Beside logits of -20 to 20: one that matters, none, one that takes most of the mass, one that hardly matters.
constexpr std::array sinks = {3.0F, -std::numeric_limits<float>::infinity(), 15.0F, -2.0F};

// A third of the visible blocks; some rows see none.
reference::Mask make_mask(const CheckCase &c) {
  reference::Mask mask(c.shape, c.problem.num_q_heads, c.policy.block_q, c.policy.block_k);
  std::mt19937 random(static_cast<std::mt19937::result_type>(c.seed));
  for (int b = 0; b < mask.batch(); ++b) {
    for (int h = 0; h < mask.num_q_heads(); ++h) {
      for (int m = 0; m < mask.q_blocks(); ++m) {
        const reference::Region region = reference::region_of(c.policy, c.problem, c.shape, m);
        for (int j = region.first_visible; j < region.visible_blocks; ++j) {
          mask.set(b, h, m, j, random() % 3 == 0);
        }
      }
    }
  }
  return mask;
}

std::vector<float> make_kbar(const CheckCase &c) {
  std::mt19937 random(static_cast<std::mt19937::result_type>(c.seed));
  std::vector<float> kbar(static_cast<std::size_t>(c.shape.batch) * c.problem.num_kv_heads * c.problem.head_dim);
  std::generate(kbar.begin(), kbar.end(), [&] { return static_cast<float>(random() % 512) / 256.0F - 1.0F; });
  return kbar;
}

DeviceRun make_run(const CheckCase &c, const reference::Mask &mask) {
  DeviceRun run;
  run.problem = c.problem;
  run.policy = c.policy;
  run.strided = c.strided;
  run.dense = c.mode == Mode::dense;
  run.mask_in = c.mode == Mode::given_mask ? &mask : nullptr;
  if (c.kbar_given) {
    run.kbar = make_kbar(c);
  }
  if (c.per_call) {
    run.tau = c.policy.tau_per_head;
    run.tau.resize(static_cast<std::size_t>(c.problem.num_q_heads), c.policy.tau);
    run.shift = c.policy.shift_per_head;
    // What the plan has must then not matter.
    run.policy.tau_per_head.clear();
    run.policy.shift_per_head.clear();
    run.policy.tau = 0.5F;
  }
  return run;
}

int device_of(const CheckCase &c, const Driver &driver, int ordinal) {
  if (!driver.emulated() || c.arch.empty()) {
    return ordinal;
  }
  const Arch arch = parse_arch(c.arch);
  const int own = find_device(driver, arch.major, arch.minor);
  return own >= 0 ? own : ordinal;
}

Problems compare(const CheckCase &c, const DeviceRun &run, const reference::Tensors &tensors,
                 const DeviceResult &result) {
  if (c.mode == Mode::sparse) {
    return compare_method(run, tensors, result);
  }
  const reference::Mask mask =
      run.mask_in != nullptr ? *run.mask_in : reference::every_visible_block(c.policy, tensors);
  const auto kbar = run.kbar.empty() ? reference::mean_keys(tensors) : run.kbar; // fp8_attend
  const auto expected =
      reference::attend_as_policy_says(tensors, c.policy, effective_softmax_scale(c.problem), kbar, mask, {});
  return compare_output(c.problem, tensors, result, expected, c.policy, kbar);
}

} // namespace

reference::Tensors make_data(const CheckCase &c) {
  reference::Tensors tensors =
      c.seed % 6 == 0
          ? reference::gaussian(c.problem, c.shape, {.seed = c.seed, .q_mean = 1.0F, .k_mean = 2.0F, .q_size = 2.0F})
          : reference::structured(c.problem, c.shape, c.seed);
  for (std::size_t h = 0; h < tensors.sink_logits.size(); ++h) {
    tensors.sink_logits[h] = sinks[(h + c.seed) % sinks.size()];
  }
  return tensors;
}

CaseResult run_case(const CheckCase &check_case, const std::shared_ptr<const Driver> &driver, int ordinal,
                    const Options &options) {
  CaseResult outcome;
  try {
    validate(check_case);
    const auto device = std::make_shared<const Device>(driver, device_of(check_case, *driver, ordinal));
    Options with = options;
    with.arch = check_case.arch;
    const reference::Tensors tensors = make_data(check_case);
    const reference::Mask mask = make_mask(check_case);
    const DeviceRun run = make_run(check_case, mask);
    const DeviceResult result = run_on_device(run, tensors, device, with);
    outcome.kernels = result.kernels;
    outcome.problems = compare(check_case, run, tensors, result);
  } catch (const Error &error) {
    outcome.problems.emplace_back(error.what());
    if (!error.details().log.empty()) {
      outcome.problems.push_back(error.details().log);
    }
  }
  return outcome;
}

} // namespace sale::check
