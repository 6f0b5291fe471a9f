// SPDX-License-Identifier: Apache-2.0
// What the C API refuses: with a status and a sentence, and never with a crash.
#include "sale/sale.h"
#include "sale/sale.hpp"
#include "tests/support/temporary_folder.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace {

::testing::AssertionResult fails(sale_status status, sale_status expected, const std::string &sentence) {
  const std::string said = sale_last_error();
  if (status == expected && said.find(sentence) != std::string::npos) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << sale_status_name(status) << ": " << said;
}

sale_problem problem() {
  sale_problem made;
  sale_problem_init(&made, sizeof(made));
  return made;
}

sale_policy policy() {
  sale_policy made;
  sale_policy_init(&made, sizeof(made));
  return made;
}

TEST(CApiRefuses, null_where_something_is_needed) {
  const sale_problem any = problem();
  sale_engine *engine = nullptr;
  sale_plan *plan = nullptr;
  sale_tuning *tuning = nullptr;
  EXPECT_TRUE(fails(sale_validate(nullptr, nullptr, nullptr), SALE_INVALID_ARGUMENT, "problem is NULL"));
  EXPECT_TRUE(fails(sale_engine_create(0, nullptr, nullptr), SALE_INVALID_ARGUMENT, "engine is NULL"));
  EXPECT_TRUE(fails(sale_engine_prepare(engine, &any, nullptr, nullptr, &plan), SALE_INVALID_ARGUMENT, "engine is"));
  EXPECT_TRUE(fails(sale_engine_cache_counters(engine, nullptr), SALE_INVALID_ARGUMENT, "engine is NULL"));
  EXPECT_TRUE(fails(sale_plan_run(plan, nullptr, nullptr), SALE_INVALID_ARGUMENT, "plan is NULL"));
  EXPECT_TRUE(fails(sale_plan_merge(plan, nullptr, nullptr), SALE_INVALID_ARGUMENT, "plan is NULL"));
  EXPECT_TRUE(fails(sale_plan_retain(plan, &plan), SALE_INVALID_ARGUMENT, "plan is NULL"));
  EXPECT_TRUE(fails(sale_plan_workspace_bytes(plan, nullptr, nullptr), SALE_INVALID_ARGUMENT, "plan is NULL"));
  EXPECT_TRUE(fails(sale_plan_kernel(plan, 0, nullptr), SALE_INVALID_ARGUMENT, "plan is NULL"));
  EXPECT_TRUE(fails(sale_prewarm(nullptr, 1, nullptr, 0, nullptr, nullptr), SALE_INVALID_ARGUMENT, "archs is NULL"));
  EXPECT_TRUE(fails(sale_tuning_load(nullptr, &tuning), SALE_INVALID_ARGUMENT, "file is NULL"));
  EXPECT_TRUE(fails(sale_swappable_plan_use(nullptr, nullptr), SALE_INVALID_ARGUMENT, "plan is NULL"));
  EXPECT_TRUE(fails(sale_background_tuning_start(nullptr, nullptr), SALE_INVALID_ARGUMENT, "options is NULL"));
  EXPECT_EQ(sale_plan_kernel_count(nullptr), 0U);
  EXPECT_EQ(sale_kernel_list_count(nullptr), 0U);
  EXPECT_EQ(sale_engine_arch(nullptr), std::string());
}

TEST(CApiRefuses, nothing_to_release) {
  sale_engine_release(nullptr);
  sale_plan_release(nullptr);
  sale_kernel_list_release(nullptr);
  sale_tuning_release(nullptr);
  sale_swappable_plan_release(nullptr);
  sale_background_tuning_release(nullptr);
}

TEST(CApiRefuses, what_the_cpp_api_refuses) {
  sale_problem odd = problem();
  odd.head_dim = 100;
  EXPECT_TRUE(fails(sale_validate(&odd, nullptr, nullptr), SALE_INVALID_ARGUMENT, "head_dim"));
  odd = problem();
  odd.dtype = 2;
  EXPECT_TRUE(fails(sale_validate(&odd, nullptr, nullptr), SALE_INVALID_ARGUMENT,
                    "dtype is 2; it is one of SALE_BF16, SALE_F16 (0 to 1)"));
  const sale_problem good = problem();
  sale_policy bad = policy();
  bad.estimator = -1;
  EXPECT_TRUE(fails(sale_validate(&good, &bad, nullptr), SALE_INVALID_ARGUMENT, "estimator is -1"));
  bad = policy();
  bad.tau_per_head_count = 3;
  EXPECT_TRUE(fails(sale_validate(&good, &bad, nullptr), SALE_INVALID_ARGUMENT, "tau_per_head is NULL"));
  const float tau = 0.1F;
  bad.tau_per_head = &tau;
  bad.tau_per_head_count = 1;
  EXPECT_TRUE(fails(sale_validate(&good, &bad, nullptr), SALE_INVALID_ARGUMENT, "tau_per_head"));
  sale_serving serving;
  sale_serving_init(&serving, sizeof(serving));
  serving.page_size = 7;
  EXPECT_TRUE(fails(sale_validate(&good, nullptr, &serving), SALE_INVALID_ARGUMENT, "page_size"));
  EXPECT_EQ(sale_validate(&good, nullptr, nullptr), SALE_OK);
}

TEST(CApiRefuses, files_that_are_not_there) {
  sale_options options;
  sale_options_init(&options, sizeof(options));
  options.cuda_driver = "/nowhere/libcuda.so.1";
  sale_engine *engine = nullptr;
  EXPECT_TRUE(fails(sale_engine_create(0, &options, &engine), SALE_NOT_FOUND, "/nowhere/libcuda.so.1"));
  EXPECT_EQ(engine, nullptr);
  sale_tuning *tuning = nullptr;
  EXPECT_TRUE(fails(sale_tuning_load("/nowhere/record.yaml", &tuning), SALE_IO, "/nowhere/record.yaml"));
}

TEST(CApiRefuses, an_architecture_that_is_none) {
  const sale_problem any = problem();
  const sale_need need = {&any, nullptr, nullptr};
  const char *arch = "sm_1";
  sale_kernel_list *kernels = nullptr;
  EXPECT_TRUE(fails(sale_missing(&arch, 1, &need, 1, nullptr, &kernels), SALE_INVALID_ARGUMENT, "sm_1"));
  EXPECT_EQ(kernels, nullptr);
}

TEST(CApiLists, kernels_that_are_missing) {
  const sale::TemporaryFolder folder;
  const std::string cache = folder.path().string();
  sale_options options;
  sale_options_init(&options, sizeof(options));
  options.cache_dir = options.system_cache_dir = cache.c_str();
  const sale_problem any = problem();
  const sale_need need = {&any, nullptr, nullptr};
  const char *archs[] = {"sm_80", "sm_90a"};
  sale_kernel_list *kernels = nullptr;
  ASSERT_EQ(sale_missing(archs, 2, &need, 1, &options, &kernels), SALE_OK) << sale_last_error();
  sale::Options cpp;
  cpp.cache_dir = cpp.system_cache_dir = cache;
  const std::vector<sale::KernelInfo> expected = sale::missing({"sm_80", "sm_90a"}, {sale::Need()}, cpp);
  ASSERT_EQ(sale_kernel_list_count(kernels), expected.size());
  sale_kernel_info kernel{};
  kernel.struct_size = sizeof(kernel);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(sale_kernel_list_get(kernels, i, &kernel), SALE_OK) << sale_last_error();
    EXPECT_EQ(kernel.name, expected[i].name);
    EXPECT_EQ(kernel.arch, expected[i].arch);
    EXPECT_EQ(kernel.key, expected[i].key);
  }
  EXPECT_TRUE(fails(sale_kernel_list_get(kernels, expected.size(), &kernel), SALE_INVALID_ARGUMENT, "there is no"));
  sale_kernel_list_release(kernels);
}

TEST(CApiTuning, in_the_background_fails_and_stops) {
  const sale::TemporaryFolder folder;
  const std::string record = (folder.path() / "record.yaml").string();
  const sale_problem any = problem();
  const sale_need need = {&any, nullptr, nullptr};
  sale_background_tuning_options options;
  sale_background_tuning_options_init(&options, sizeof(options));
  options.needs = &need;
  options.needs_count = 1;
  options.record = record.c_str();
  options.program = "/bin/false";
  sale_background_tuning *tuning = nullptr;
  ASSERT_EQ(sale_background_tuning_start(&options, &tuning), SALE_OK) << sale_last_error();
  std::int32_t state = SALE_TUNING_RUNNING;
  for (int i = 0; i < 1000 && state == SALE_TUNING_RUNNING; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_EQ(sale_background_tuning_state(tuning, &state), SALE_OK) << sale_last_error();
  }
  EXPECT_EQ(state, SALE_TUNING_FAILED);
  EXPECT_NE(sale_background_tuning_error(tuning), std::string());
  sale_tuning *measured = nullptr;
  ASSERT_EQ(sale_background_tuning_record(tuning, &measured), SALE_OK) << sale_last_error();
  EXPECT_EQ(measured, nullptr);
  EXPECT_EQ(sale_background_tuning_stop(tuning), SALE_OK);
  sale_background_tuning_release(tuning);
}

TEST(CApiTuning, of_a_file_is_loaded) {
  sale_tuning *tuning = nullptr;
  ASSERT_EQ(sale_tuning_load(SALE_SOURCE_DIR "/autotune/record/shipped/h100-80gb-hbm3.yaml", &tuning), SALE_OK)
      << sale_last_error();
  EXPECT_NE(tuning, nullptr);
  sale_tuning_release(tuning);
}

TEST(CApiErrors, are_of_their_own_thread) {
  sale_validate(nullptr, nullptr, nullptr);
  std::string others = "not asked";
  std::thread([&] { others = sale_last_error(); }).join();
  EXPECT_EQ(others, "");
  EXPECT_EQ(sale_last_error(), std::string("problem is NULL"));
  EXPECT_EQ(sale_last_error_log(), std::string()) << "no compiler said anything";
  const sale_problem good = problem();
  EXPECT_EQ(sale_validate(&good, nullptr, nullptr), SALE_OK);
  EXPECT_EQ(sale_last_error(), std::string("problem is NULL")) << "the latest that failed";
}

} // namespace
