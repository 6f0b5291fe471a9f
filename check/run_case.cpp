// SPDX-License-Identifier: Apache-2.0
#include "check/run_case.hpp"

#include "check/ragged_call.hpp"
#include "generator/arch.hpp"
#include "reference/means.hpp"
#include "reference/region.hpp"
#include "reference/run.hpp"
#include "reference/synthetic.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <random>
#include <utility>

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

std::vector<float> make_kbar(const Problem &problem, int batch, std::uint64_t seed) {
  std::mt19937 random(static_cast<std::mt19937::result_type>(seed));
  std::vector<float> kbar(static_cast<std::size_t>(batch) * problem.num_kv_heads * problem.head_dim);
  std::generate(kbar.begin(), kbar.end(), [&] { return static_cast<float>(random() % 512) / 256.0F - 1.0F; });
  return kbar;
}

DeviceRun make_run(const CheckCase &c) {
  DeviceRun run;
  run.problem = c.problem;
  run.policy = c.policy;
  run.strided = c.strided;
  run.dense = c.mode == Mode::dense;
  if (c.kbar == KbarSource::given) {
    run.kbar = make_kbar(c.problem, c.shape.batch, c.seed);
  } else if (c.kbar == KbarSource::policy && c.policy.estimator != Estimator::exact) {
    run.policy.kbar = make_kbar(c.problem, 1, 0);
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
  const auto kbar = kbar_of(run, tensors); // fp8_attend
  const auto expected =
      reference::attend_as_policy_says(tensors, c.policy, effective_softmax_scale(c.problem), kbar, mask, {});
  return compare_output(c.problem, tensors, result, expected, c.policy, kbar);
}

// What one sequence is alone, a plain call of its own data.
CheckCase case_of(const CheckCase &c, std::size_t sequence) {
  CheckCase alone = c;
  const SequenceLengths lengths = c.lengths()[sequence];
  alone.shape = {1, lengths.q_len, lengths.kv_len};
  alone.seed = c.seed + sequence;
  alone.batching = Batching::plain;
  alone.page_size = 0;
  alone.sequences.clear();
  return alone;
}

// A sequence without keys: output 0, and nothing but the sink in lse.
Problems compare_nothing_seen(const Problem &problem, const reference::Tensors &tensors, const DeviceResult &result) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  reference::Attention expected;
  expected.out.resize(result.out.size());
  for (std::size_t row = 0; row < result.lse.size(); ++row) {
    const auto head = row / static_cast<std::size_t>(tensors.shape.q_len);
    expected.lse.push_back(tensors.sink_logits.empty() ? -infinity : tensors.sink_logits[head]);
  }
  return compare_output(problem, tensors, result, expected);
}

CaseResult run_ragged_case(const CheckCase &c, const std::shared_ptr<const Device> &device, const Options &options) {
  std::vector<CheckCase> cases;
  std::vector<reference::Tensors> sequences;
  std::vector<reference::Mask> masks;
  for (std::size_t b = 0; b < c.lengths().size(); ++b) {
    cases.push_back(case_of(c, b));
    sequences.push_back(make_data(cases.back()));
    sequences.back().sink_logits = sequences.front().sink_logits;
    masks.push_back(make_mask(cases.back()));
  }
  RaggedRun run{make_run(c), c.serving(), c.call_shape()};
  run.mask_given = c.mode == Mode::given_mask;
  run.uniform = c.sequences.empty();
  run.pages_by_head = c.pages_by_head;
  run.rows_between = c.rows_between();
  const std::vector<DeviceResult> results =
      run_batch_on_device(run, sequences, masks, device, options, static_cast<unsigned>(c.seed));

  CaseResult outcome;
  outcome.kernels = results.front().kernels;
  for (std::size_t b = 0; b < results.size(); ++b) {
    DeviceRun own = run_of(run, b);
    own.mask_in = run.mask_given ? &masks[b] : nullptr;
    const Shape &shape = sequences[b].shape;
    const Problems problems = shape.q_len == 0    ? Problems()
                              : shape.kv_len == 0 ? compare_nothing_seen(c.problem, sequences[b], results[b])
                                                  : compare(cases[b], own, sequences[b], results[b]);
    for (const std::string &problem : problems) {
      outcome.problems.push_back(fmt::format("sequence {} of {}/{}: {}", b, shape.q_len, shape.kv_len, problem));
    }
  }
  if (!results.front().guards_intact) {
    outcome.problems.emplace_back("something was written outside the rows of the sequences");
  }
  return outcome;
}

} // namespace

reference::Tensors make_data(const CheckCase &c) {
  const bool empty = c.shape.q_len == 0 || c.shape.kv_len == 0;
  reference::Tensors tensors =
      empty ? reference::make_tensors(c.problem, c.shape)
      : c.seed % 6 == 0
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
    if (check_case.batching != Batching::plain) {
      return run_ragged_case(check_case, device, with);
    }
    const reference::Tensors tensors = make_data(check_case);
    const reference::Mask mask = make_mask(check_case);
    DeviceRun run = make_run(check_case);
    run.mask_in = check_case.mode == Mode::given_mask ? &mask : nullptr;
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
