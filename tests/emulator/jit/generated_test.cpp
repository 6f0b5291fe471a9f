// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/program.hpp"
#include "generator/generate.hpp"
#include "sale/error.hpp"

#include <gtest/gtest.h>

namespace sale::emulator {
namespace {

// Every PTX instruction of the templates is arithmetic or has a handler: else compile throws.
TEST(Generated, EveryStageCompiles) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const Estimator estimator : {Estimator::exact, Estimator::int8, Estimator::int4}) {
      Problem problem;
      problem.dtype = dtype;
      Policy policy;
      policy.estimator = estimator;
      for (const KernelSpec &spec : plan_kernels(problem, policy, Arch{9, 0})) {
        try {
          EXPECT_NE(Program::compile(generate(spec))->entry(spec.entry_name()), nullptr) << spec.describe();
        } catch (const Error &error) {
          ADD_FAILURE() << spec.describe() << ": " << error.what();
        }
      }
    }
  }
}

} // namespace
} // namespace sale::emulator
