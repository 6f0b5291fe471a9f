// SPDX-License-Identifier: Apache-2.0
#include "tests/synth/device_density.hpp"

#include "runtime/driver.hpp"
#include "sale/error.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

namespace sale::synth {
namespace {

class TunedDensity : public testing::TestWithParam<int> {
protected:
  void SetUp() override {
    try {
      Driver::open();
    } catch (const Error &error) {
      GTEST_SKIP() << "no GPU: " << error.what();
    }
  }
};

TEST_P(TunedDensity, is_what_the_structure_promises) {
  Options options;
  options.cache_dir = std::filesystem::path(SALE_BINARY_DIR) / "test-cache";
  DeviceDensity device(GetParam(), options);
  for (const double density : {0.12, 0.15}) {
    const std::vector<double> per_head = device.measure(structure_for(GetParam(), density));
    EXPECT_NEAR(mean(per_head), density, 0.005);
    const auto [sparsest, densest] = std::minmax_element(per_head.begin(), per_head.end());
    EXPECT_LT(*sparsest, 0.05);
    EXPECT_GT(*densest, 0.35);
  }
}

INSTANTIATE_TEST_SUITE_P(Lengths, TunedDensity, testing::Values(32768, 65536, 131072));

} // namespace
} // namespace sale::synth
