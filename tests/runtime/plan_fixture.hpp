// SPDX-License-Identifier: Apache-2.0
// Plans on the fake driver, and what their calls enqueue.
#pragma once

#include "tests/runtime/fakes.hpp"

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace sale {

inline constexpr const char *memset_call = "cuMemsetD32Async";

class PlanTest : public FakeMachine {
protected:
  Plan prepare(const Policy &policy, const Problem &problem = {}, const Serving &serving = {}) {
    Options with = options();
    with.arch = arch_;
    fake_cuda().wgmma_family = arch_ == "sm_90a";
    return Engine(0, with).prepare(problem, policy, serving);
  }

  /// Arguments of a call; the fake never looks at q, k, v and out.
  RunArgs args_for(const Plan &plan, const Shape &shape) {
    const Problem &p = plan.problem();
    RunArgs args;
    args.shape = shape;
    args.q = packed_view(reinterpret_cast<void *>(0x100000000), p.num_q_heads, shape.q_len, p.head_dim);
    args.k = packed_view(reinterpret_cast<void *>(0x200000000), p.num_kv_heads, shape.kv_len, p.head_dim);
    args.v = packed_view(reinterpret_cast<void *>(0x300000000), p.num_kv_heads, shape.kv_len, p.head_dim);
    args.out = packed_view(reinterpret_cast<void *>(0x400000000), p.num_q_heads, shape.q_len, p.head_dim);
    args.workspace_bytes = plan.workspace_bytes(shape);
    workspace_.reset(std::aligned_alloc(256, args.workspace_bytes + 256));
    args.workspace = workspace_.get();
    return args;
  }

  /// Runs and returns what was enqueued: kernel names, and the memset.
  std::vector<std::string> enqueued(const Plan &plan, const RunArgs &args) {
    fake_cuda().calls.clear();
    plan.run(args, stream_);
    return enqueued();
  }
  std::vector<std::string> enqueued() {
    std::vector<std::string> names;
    for (const FakeCall &call : fake_cuda().calls) {
      if (call.name == "cuLaunchKernel") {
        names.push_back(call.kernel);
      } else if (call.name == memset_call) {
        names.push_back(call.name);
      }
    }
    return names;
  }
  const FakeCall &launch(const std::string &kernel) {
    for (const FakeCall &call : fake_cuda().calls) {
      if (call.kernel == kernel) {
        return call;
      }
    }
    ADD_FAILURE() << "no launch of " << kernel;
    return fake_cuda().calls.at(0);
  }

  std::vector<unsigned> grid(const std::string &kernel) {
    const FakeCall &call = launch(kernel);
    return {call.grid[0], call.grid[1], call.grid[2]};
  }

  struct Free {
    void operator()(void *memory) const { std::free(memory); }
  };
  std::string arch_ = "sm_90";
  std::unique_ptr<void, Free> workspace_;
  CUstream_st *stream_ = reinterpret_cast<CUstream_st *>(0x77);
};

inline Policy policy_with(Estimator estimator) {
  Policy policy;
  policy.estimator = estimator;
  return policy;
}

using Names = std::vector<std::string>;

} // namespace sale
