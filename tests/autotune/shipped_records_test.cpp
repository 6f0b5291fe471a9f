// SPDX-License-Identifier: Apache-2.0
// Records that are part of the library: whole, and where they are of today's kernels, possible.
#include "autotune/record/layers.hpp"
#include "autotune/record/record.hpp"
#include "generator/generate.hpp"
#include "io/model.hpp"
#include "sale/error.hpp"

#include <gtest/gtest.h>

#include <map>

namespace sale::autotune {
namespace {

std::vector<Policy> policies() {
  std::vector<Policy> all;
  for (const Estimator estimator : {Estimator::int8, Estimator::fp8, Estimator::int4, Estimator::exact}) {
    for (const bool fp8_attend : {false, true}) {
      Policy policy;
      policy.estimator = estimator;
      policy.fp8_attend = fp8_attend;
      all.push_back(policy);
    }
  }
  return all;
}

// Every tunable kernel of the known models, by class. Not all architectures and problems have all of them.
std::map<std::string, KernelSpec> kernels_for(const Arch &arch) {
  std::map<std::string, KernelSpec> kernels;
  for (const std::string &model : io::known_models()) {
    const Problem problem = io::load_model(model).problem;
    for (const Policy &policy : policies()) {
      try {
        for (const KernelSpec &spec : plan_kernels(problem, policy, arch)) {
          validate(spec);
          if (is_tunable(spec.stage)) {
            kernels.emplace(spec.class_name(), spec);
          }
        }
      } catch (const Error &) {
        continue;
      }
    }
  }
  return kernels;
}

void expect_possible(const TuningRecord &record) {
  for (const GpuTuning &gpu : record.gpus) {
    const std::map<std::string, KernelSpec> kernels = kernels_for(gpu.arch);
    for (const KernelTuning &tuning : gpu.kernels) {
      const auto found = kernels.find(tuning.kernel);
      ASSERT_NE(found, kernels.end()) << tuning.kernel << " is a kernel of no known model";
      EXPECT_FALSE(choices_for(record, gpu, found->second).empty()) << tuning.kernel;
    }
  }
}

TEST(ShippedRecords, AreWholeAndTheirTilesPossible) {
  for (const EmbeddedRecord &shipped : embedded_records()) {
    SCOPED_TRACE(shipped.name);
    const TuningRecord record = parse_record(shipped.text, shipped.name);
    EXPECT_FALSE(record.gpus.empty());
    if (is_for_this_library(record)) { // else `sale tuning list` says that it is not used
      expect_possible(record);
    }
  }
}

TEST(ShippedRecords, WouldBeFoundImpossible) {
  const Arch arch = parse_arch("sm_90a");
  TuningRecord record = empty_record();
  record.gpus.push_back({"GPU", arch, 132, {}, {}});
  const std::map<std::string, KernelSpec> kernels = kernels_for(arch);
  EXPECT_GT(kernels.size(), 10U);
  for (const auto &[name, spec] : kernels) {
    record.gpus[0].kernels.push_back({name, {{.tile = spec.tile, .facts = {}}}});
  }
  expect_possible(record);
  record.gpus[0].kernels.back().choices[0].tile.warps = 4096;
  EXPECT_THROW(expect_possible(record), Error);
}

} // namespace
} // namespace sale::autotune
