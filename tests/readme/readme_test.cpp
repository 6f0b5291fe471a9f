// SPDX-License-Identifier: Apache-2.0
// The example in README.md compiles, links, and does what it says as far as this machine can.
#include "sale/sale.hpp"
#include "tests/support/temporary_folder.hpp"

#include <cstdlib>
#include <gtest/gtest.h>

sale::Plan make_plan();
void attention(const sale::Plan &plan, void *q, void *k, void *v, void *out, int tokens, void *workspace,
               CUstream_st *stream);

TEST(Readme, TheExamplePreparesAPlanOrSaysWhatIsMissing) {
  const sale::TemporaryFolder cache; // not the cache of whoever runs this
  ::setenv("SALE_CACHE_DIR", cache.path().c_str(), 1);
  try {
    const sale::Plan plan = make_plan();
    EXPECT_FALSE(plan.kernels().empty());
    EXPECT_THROW(attention(plan, nullptr, nullptr, nullptr, nullptr, 128, nullptr, nullptr), sale::Error);
  } catch (const sale::Error &error) {
    EXPECT_EQ(error.kind(), sale::ErrorKind::not_found) << error.what();
  }
}
