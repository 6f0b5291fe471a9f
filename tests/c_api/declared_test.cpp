// SPDX-License-Identifier: Apache-2.0
// The C API's numbers are those of the C++ API.
#include "sale/sale.h"
#include "sale/types.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>

namespace sale {
namespace {

TEST(CApi, says_its_version) {
  EXPECT_EQ(sale_c_api_version(), SALE_C_API_VERSION);
  EXPECT_EQ(std::count(sale_version(), sale_version() + std::strlen(sale_version()), '.'), 2);
}

TEST(CApi, numbers_enumerators_as_cpp_does) {
  EXPECT_EQ(SALE_BF16, static_cast<int>(DType::bf16));
  EXPECT_EQ(SALE_F16, static_cast<int>(DType::f16));
  EXPECT_EQ(SALE_ESTIMATOR_EXACT, static_cast<int>(Estimator::exact));
  EXPECT_EQ(SALE_ESTIMATOR_INT8, static_cast<int>(Estimator::int8));
  EXPECT_EQ(SALE_ESTIMATOR_INT4, static_cast<int>(Estimator::int4));
  EXPECT_EQ(SALE_ESTIMATOR_FP8, static_cast<int>(Estimator::fp8));
}

TEST(CApi, names_each_status) {
  std::set<std::string> names;
  for (sale_status status = SALE_OK; status <= SALE_INTERNAL; ++status) {
    EXPECT_TRUE(names.insert(sale_status_name(status)).second) << status;
  }
  EXPECT_EQ(sale_status_name(SALE_NOT_CACHED), std::string("not_cached"));
  EXPECT_EQ(sale_status_name(SALE_INTERNAL), std::string("internal"));
  EXPECT_EQ(sale_status_name(-1), std::string("unknown"));
  EXPECT_EQ(sale_status_name(SALE_INTERNAL + 1), std::string("unknown"));
}

} // namespace
} // namespace sale
