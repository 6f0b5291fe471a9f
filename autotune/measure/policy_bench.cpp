// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/policy_bench.hpp"

#include "bench/random_mask.hpp"

#include <cstdint>
#include <utility>

namespace sale::autotune {

PolicyBench::PolicyBench(std::shared_ptr<const Device> device, Options options, const PolicyCalls &calls,
                         Inputs &inputs, BenchMemory &memory)
    : device_(std::move(device)), engine_(-1, std::move(options)), calls_(calls),
      input_(inputs.get(calls.problem, calls.tokens)), memory_(memory), plans_(calls.policies.size()) {
  const Problem &problem = calls.problem;
  at_least(device_,
           sizeof(std::uint16_t) * static_cast<std::size_t>(calls.tokens) *
               static_cast<std::size_t>(problem.num_q_heads) * static_cast<std::size_t>(effective_v_head_dim(problem)),
           memory_.out);
}

void PolicyBench::load(std::size_t policy) {
  const Plan plan = engine_.prepare(calls_.problem, calls_.policies[policy]);
  at_least(device_, plan.workspace_bytes(input_.shape), memory_.workspace);
  at_least(device_, mask_words(calls_.problem, plan.policy(), input_.shape) * sizeof(std::uint32_t), memory_.mask);
  plans_[policy] = plan;
}

RunArgs PolicyBench::args() const {
  RunArgs args = input_.args();
  args.out =
      packed_view(memory_.out.data(), calls_.problem.num_q_heads, calls_.tokens, effective_v_head_dim(calls_.problem));
  args.workspace = memory_.workspace.data();
  args.workspace_bytes = memory_.workspace.bytes();
  return args;
}

double PolicyBench::density(std::size_t policy) {
  const Plan &plan = *plans_[policy];
  RunArgs with_mask = args();
  if (is_dense(policy)) {
    plan.run(with_mask, nullptr);
    device_->driver().check(device_->driver().api.stream_synchronize(nullptr), "cuStreamSynchronize");
    return 1;
  }
  std::vector<std::uint32_t> words(mask_words(calls_.problem, plan.policy(), input_.shape));
  with_mask.mask_out = static_cast<std::uint32_t *>(memory_.mask.data());
  plan.run(with_mask, nullptr);
  device_->driver().check(device_->driver().api.copy_to_host(words.data(),
                                                             reinterpret_cast<cu::Address>(memory_.mask.data()),
                                                             words.size() * sizeof(words[0])),
                          "cuMemcpyDtoH");
  return bench::mask_density(words, calls_.problem, plan.policy(), input_.shape);
}

} // namespace sale::autotune
