// SPDX-License-Identifier: Apache-2.0
// A host that speaks C, on the emulator: the same bits as a host that speaks C++.
#include "runtime/device.hpp"
#include "sale/sale.h"
#include "sale/sale.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace sale {
namespace {

constexpr int tokens = 300;
constexpr int q_heads = 2;
constexpr int kv_heads = 1;
constexpr int head_dim = 64;
constexpr std::size_t out_elements = static_cast<std::size_t>(q_heads) * tokens * head_dim;

template <class T>
T made(void (*init)(T *, std::size_t)) {
  T value;
  init(&value, sizeof(value));
  return value;
}

class CHost : public testing::Test {
protected:
  void SetUp() override {
    options_ = made(sale_options_init);
    options_.cuda_driver = SALE_EMULATOR_LIBRARY;
    options_.arch = "sm_80";
    options_.use_disk_cache = 0;
    problem_ = made(sale_problem_init);
    problem_.head_dim = head_dim;
    problem_.num_q_heads = q_heads;
    problem_.num_kv_heads = kv_heads;
    policy_ = made(sale_policy_init);
    policy_.tau = 0.1F;
    q_ = tensor(q_heads, 1);
    k_ = tensor(kv_heads, 2);
    v_ = tensor(kv_heads, 3);
    ASSERT_EQ(sale_engine_create(0, &options_, &engine_), SALE_OK) << sale_last_error();
  }
  void TearDown() override { sale_engine_release(engine_); }

  // Small bf16 numbers.
  DeviceArray tensor(int heads, unsigned seed) {
    std::vector<std::uint16_t> values(static_cast<std::size_t>(heads) * tokens * head_dim);
    std::mt19937 random(seed);
    for (std::uint16_t &value : values) {
      value = static_cast<std::uint16_t>((random() & 0x8000U) | (0x3F00U + random() % 0x0100U));
    }
    return upload(values);
  }
  template <class T>
  DeviceArray upload(const std::vector<T> &values) {
    DeviceArray array(device_, values.size() * sizeof(T));
    array.upload(values.data());
    return array;
  }
  template <class T>
  static std::vector<T> download(const DeviceArray &array) {
    std::vector<T> values(array.bytes() / sizeof(T));
    array.download(values.data());
    return values;
  }

  sale_plan *prepare(const sale_serving *serving = nullptr) {
    sale_plan *plan = nullptr;
    EXPECT_EQ(sale_engine_prepare(engine_, &problem_, &policy_, serving, &plan), SALE_OK) << sale_last_error();
    return plan;
  }
  Plan cpp_plan(const Serving &serving = {}) const {
    Options options;
    options.cuda_driver = SALE_EMULATOR_LIBRARY;
    options.arch = "sm_80";
    options.use_disk_cache = false;
    Problem problem;
    problem.head_dim = head_dim;
    problem.num_q_heads = q_heads;
    problem.num_kv_heads = kv_heads;
    Policy policy;
    policy.tau = 0.1F;
    return Engine(0, options).prepare(problem, policy, serving);
  }

  struct Results {
    DeviceArray out, lse, mask;
  };
  Results poisoned(std::size_t words) {
    return {upload(std::vector<std::uint16_t>(out_elements, 0xFFFF)),
            upload(std::vector<float>(static_cast<std::size_t>(q_heads) * tokens, -1)),
            upload(std::vector<std::uint32_t>(words, 0xFFFFFFFF))};
  }
  sale_run_args args_for(const Results &results) {
    sale_run_args args = made(sale_run_args_init);
    args.q_len = args.kv_len = tokens;
    args.q = sale_packed_tensor(q_.data(), q_heads, tokens, head_dim);
    args.k = sale_packed_tensor(k_.data(), kv_heads, tokens, head_dim);
    args.v = sale_packed_tensor(v_.data(), kv_heads, tokens, head_dim);
    args.out = sale_packed_tensor(results.out.data(), q_heads, tokens, head_dim);
    args.lse = static_cast<float *>(results.lse.data());
    args.mask_out = static_cast<std::uint32_t *>(results.mask.data());
    args.workspace = workspace_.data();
    args.workspace_bytes = workspace_.bytes();
    return args;
  }
  // With room in the workspace; the words of a mask.
  std::size_t make_room(const sale_plan *plan) {
    sale_shape shape = made(sale_shape_init);
    shape.q_len = shape.kv_len = tokens;
    std::size_t bytes = 0;
    std::size_t words = 0;
    EXPECT_EQ(sale_plan_workspace_bytes(plan, &shape, &bytes), SALE_OK) << sale_last_error();
    EXPECT_EQ(sale_plan_mask_words(plan, &shape, &words), SALE_OK) << sale_last_error();
    workspace_ = DeviceArray(device_, bytes);
    return words;
  }

  std::shared_ptr<const Device> device_ = std::make_shared<const Device>(Driver::open(SALE_EMULATOR_LIBRARY), 0);
  CurrentContext current_{*device_};
  sale_options options_{};
  sale_problem problem_{};
  sale_policy policy_{};
  DeviceArray q_, k_, v_, workspace_;
  sale_engine *engine_ = nullptr;
};

TEST_F(CHost, computes_what_a_cpp_host_computes) {
  sale_plan *plan = prepare();
  ASSERT_NE(plan, nullptr);
  const std::size_t words = make_room(plan);
  const Plan cpp = cpp_plan();
  ASSERT_EQ(words, mask_words(cpp.problem(), cpp.policy(), {1, tokens, tokens}));
  for (const bool dense : {false, true}) {
    const Results mine = poisoned(words);
    const Results theirs = poisoned(words);
    sale_run_args args = args_for(mine);
    RunArgs cpp_args;
    cpp_args.shape = {1, tokens, tokens};
    cpp_args.q = packed_view(q_.data(), q_heads, tokens, head_dim);
    cpp_args.k = packed_view(k_.data(), kv_heads, tokens, head_dim);
    cpp_args.v = packed_view(v_.data(), kv_heads, tokens, head_dim);
    cpp_args.out = packed_view(theirs.out.data(), q_heads, tokens, head_dim);
    cpp_args.lse = static_cast<float *>(theirs.lse.data());
    cpp_args.workspace = workspace_.data();
    cpp_args.workspace_bytes = workspace_.bytes();
    if (dense) {
      args.mask_out = nullptr;
      ASSERT_EQ(sale_plan_run_dense(plan, &args, nullptr), SALE_OK) << sale_last_error();
      cpp.run_dense(cpp_args, nullptr);
    } else {
      cpp_args.mask_out = static_cast<std::uint32_t *>(theirs.mask.data());
      ASSERT_EQ(sale_plan_run(plan, &args, nullptr), SALE_OK) << sale_last_error();
      cpp.run(cpp_args, nullptr);
    }
    EXPECT_EQ(download<std::uint16_t>(mine.out), download<std::uint16_t>(theirs.out));
    EXPECT_EQ(download<float>(mine.lse), download<float>(theirs.lse));
    EXPECT_EQ(download<std::uint32_t>(mine.mask), download<std::uint32_t>(theirs.mask));
    EXPECT_NE(download<std::uint16_t>(mine.out), std::vector<std::uint16_t>(out_elements, 0xFFFF));
  }
  sale_plan_release(plan);
}

TEST_F(CHost, selects_alone_and_profiles) {
  sale_plan *plan = prepare();
  const std::size_t words = make_room(plan);
  const Results whole = poisoned(words);
  const Results selected = poisoned(words);
  sale_run_args args = args_for(whole);
  sale_stage_times times{};
  EXPECT_EQ(sale_plan_profile(plan, &args, nullptr, &times), SALE_INVALID_ARGUMENT) << "struct_size is not said";
  times.struct_size = sizeof(times);
  ASSERT_EQ(sale_plan_profile(plan, &args, nullptr, &times), SALE_OK) << sale_last_error();
  EXPECT_GT(times.attend, 0);
  EXPECT_GT(times.total, times.attend);
  args = args_for(selected);
  args.v = args.out = {};
  args.lse = nullptr;
  ASSERT_EQ(sale_plan_select(plan, &args, nullptr), SALE_OK) << sale_last_error();
  EXPECT_EQ(download<std::uint32_t>(selected.mask), download<std::uint32_t>(whole.mask));
  ASSERT_EQ(sale_plan_profile_select(plan, &args, nullptr, &times), SALE_OK) << sale_last_error();
  EXPECT_EQ(times.attend, 0);
  EXPECT_GT(times.select, 0);
  sale_plan_release(plan);
}

TEST_F(CHost, refuses_bad_arguments_before_anything_runs) {
  sale_plan *plan = prepare();
  const Results results = poisoned(make_room(plan));
  sale_run_args args = args_for(results);
  args.workspace_bytes = 1;
  EXPECT_EQ(sale_plan_run(plan, &args, nullptr), SALE_INVALID_ARGUMENT);
  EXPECT_NE(std::string(sale_last_error()).find("workspace"), std::string::npos) << sale_last_error();
  args = args_for(results);
  args.q.data = nullptr;
  EXPECT_EQ(sale_plan_run(plan, &args, nullptr), SALE_INVALID_ARGUMENT);
  EXPECT_EQ(download<std::uint16_t>(results.out), std::vector<std::uint16_t>(out_elements, 0xFFFF));
  sale_plan_release(plan);
}

TEST_F(CHost, says_which_kernels_a_plan_has) {
  sale_plan *plan = prepare();
  sale_plan *copy = nullptr;
  ASSERT_EQ(sale_plan_retain(plan, &copy), SALE_OK);
  sale_plan_release(plan);
  const std::size_t count = sale_plan_kernel_count(copy);
  EXPECT_EQ(count, cpp_plan().kernels().size());
  sale_kernel_info kernel{};
  kernel.struct_size = sizeof(kernel);
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_EQ(sale_plan_kernel(copy, i, &kernel), SALE_OK) << sale_last_error();
    EXPECT_EQ(kernel.arch, std::string("sm_80"));
    EXPECT_EQ(std::string(kernel.key).size(), 64U);
  }
  EXPECT_EQ(sale_plan_kernel(copy, count, &kernel), SALE_INVALID_ARGUMENT);
  sale_plan_release(copy);
}

TEST_F(CHost, says_how_large_a_code_cache_is) {
  sale_serving serving = made(sale_serving_init);
  serving.page_size = 64;
  serving.code_cache = 1;
  sale_plan *plan = prepare(&serving);
  ASSERT_NE(plan, nullptr);
  Serving paged;
  paged.page_size = 64;
  paged.code_cache = true;
  std::size_t bytes = 0;
  ASSERT_EQ(sale_plan_code_cache_bytes(plan, 10, &bytes), SALE_OK) << sale_last_error();
  EXPECT_EQ(bytes, cpp_plan(paged).code_cache_bytes(10));
  EXPECT_GT(bytes, 0U);
  sale_plan_release(plan);
}

TEST_F(CHost, knows_its_device_and_its_cache) {
  EXPECT_EQ(sale_engine_arch(engine_), std::string("sm_80"));
  EXPECT_EQ(sale_engine_device_name(engine_), device_->name());
  sale_plan_release(prepare());
  sale_plan_release(prepare());
  sale_cache_counters counters{};
  counters.struct_size = sizeof(counters);
  ASSERT_EQ(sale_engine_cache_counters(engine_, &counters), SALE_OK) << sale_last_error();
  EXPECT_GT(counters.memory_hits, 0U) << "of the second time";
}

TEST_F(CHost, reads_what_its_calls_did) {
  sale_serving serving = made(sale_serving_init);
  serving.counted = 1;
  sale_plan *plan = prepare(&serving);
  const Results results = poisoned(make_room(plan));
  sale_run_args args = args_for(results);
  ASSERT_EQ(sale_plan_run(plan, &args, nullptr), SALE_OK) << sale_last_error();
  args.mask_out = nullptr;
  ASSERT_EQ(sale_plan_run_dense(plan, &args, nullptr), SALE_OK) << sale_last_error();
  sale_plan_counters counters{};
  EXPECT_EQ(sale_plan_get_counters(plan, &counters), SALE_INVALID_ARGUMENT) << "without struct_size";
  counters.struct_size = sizeof(counters);
  ASSERT_EQ(sale_plan_get_counters(plan, &counters), SALE_OK) << sale_last_error();
  EXPECT_EQ(counters.runs, 1U);
  EXPECT_EQ(counters.dense_runs, 1U);
  EXPECT_EQ(counters.finished, 2U);
  EXPECT_GT(counters.kept_blocks, 0U);
  EXPECT_LE(counters.kept_blocks, counters.visible_blocks);
  EXPECT_GT(counters.milliseconds, 0);
  sale_plan_release(plan);
}

TEST_F(CHost, hears_as_much_as_it_asks_for) {
  std::map<std::int32_t, int> lines;
  options_.user = &lines;
  options_.log = [](std::int32_t level, const char *text, void *user) {
    (*static_cast<std::map<std::int32_t, int> *>(user))[level] += text[0] != '\0' ? 1 : 0;
  };
  options_.log_level = SALE_LOG_DEBUG;
  sale_engine_release(engine_);
  ASSERT_EQ(sale_engine_create(0, &options_, &engine_), SALE_OK) << sale_last_error();
  sale_plan *plan = prepare();
  EXPECT_GE(lines[SALE_LOG_INFO], 2) << "of the engine and of the plan";
  EXPECT_EQ(lines[SALE_LOG_DEBUG], static_cast<int>(sale_plan_kernel_count(plan)));
  sale_plan_release(plan);
  options_.log_level = SALE_LOG_DEBUG + 1;
  sale_engine *engine = nullptr;
  EXPECT_EQ(sale_engine_create(0, &options_, &engine), SALE_INVALID_ARGUMENT);
  EXPECT_STREQ(
      sale_last_error(),
      "log_level is 5; it is one of SALE_LOG_FROM_ENVIRONMENT, SALE_LOG_OFF, SALE_LOG_WARNING, SALE_LOG_INFO, SALE_LOG_DEBUG (0 to 4)");
}

TEST_F(CHost, hears_of_progress_and_can_cancel) {
  struct Heard {
    int kernels = 0;
    int total = 0;
    bool cancel = false;
  } heard;
  options_.user = &heard;
  options_.progress = [](const sale_kernel_info *kernel, int /*done*/, int total, void *user) {
    auto &to = *static_cast<Heard *>(user);
    to.kernels += kernel->name[0] != '\0' ? 1 : 0;
    to.total = total;
  };
  options_.cancelled = [](void *user) { return static_cast<Heard *>(user)->cancel ? 1 : 0; };
  sale_engine_release(engine_);
  ASSERT_EQ(sale_engine_create(0, &options_, &engine_), SALE_OK) << sale_last_error();
  sale_plan_release(prepare());
  EXPECT_GT(heard.total, 0);
  EXPECT_EQ(heard.kernels, heard.total);
  heard.cancel = true;
  policy_.block_q = 128; // other kernels
  sale_plan *plan = nullptr;
  EXPECT_EQ(sale_engine_prepare(engine_, &problem_, &policy_, nullptr, &plan), SALE_CANCELLED);
  EXPECT_EQ(plan, nullptr);
}

TEST_F(CHost, swaps_plans) {
  sale_swappable_plan *swappable = nullptr;
  ASSERT_EQ(sale_swappable_plan_create(0, &options_, &problem_, &policy_, nullptr, &swappable), SALE_OK)
      << sale_last_error();
  ASSERT_EQ(sale_swappable_plan_use(swappable, nullptr), SALE_OK) << sale_last_error();
  sale_plan *current = nullptr;
  ASSERT_EQ(sale_swappable_plan_current(swappable, &current), SALE_OK);
  sale_swappable_plan_release(swappable);
  const Results results = poisoned(make_room(current));
  const sale_run_args args = args_for(results);
  EXPECT_EQ(sale_plan_run(current, &args, nullptr), SALE_OK) << sale_last_error();
  sale_plan_release(current);
}

TEST_F(CHost, merges_parts) {
  sale_serving serving = made(sale_serving_init);
  serving.parts = 1;
  sale_plan *plan = prepare(&serving);
  ASSERT_NE(plan, nullptr);
  const std::size_t rows = static_cast<std::size_t>(q_heads) * tokens;
  const DeviceArray a = upload(std::vector<float>(rows, 1));
  const DeviceArray b = upload(std::vector<float>(rows, 1));
  const DeviceArray lse = upload(std::vector<float>(rows, -1));
  sale_merge_args args = made(sale_merge_args_init);
  args.q_len = tokens;
  args.lse_a = static_cast<const float *>(a.data());
  args.lse_b = static_cast<const float *>(b.data());
  args.lse = static_cast<float *>(lse.data());
  ASSERT_EQ(sale_plan_merge(plan, &args, nullptr), SALE_OK) << sale_last_error();
  for (const float value : download<float>(lse)) {
    EXPECT_NEAR(value, 1.6931472F, 1e-5F);
  }
  sale_plan_release(plan);
}

TEST_F(CHost, reads_the_shipped_tuning_records) {
  sale_tuning_layers layers = made(sale_tuning_layers_init);
  layers.system_dir = layers.user_dir = "/nowhere";
  sale_tuning *tuning = nullptr;
  ASSERT_EQ(sale_tuning_load_layers(&layers, &tuning), SALE_OK) << sale_last_error();
  ASSERT_NE(tuning, nullptr);
  options_.tuning = tuning;
  sale_engine *engine = nullptr;
  ASSERT_EQ(sale_engine_create(0, &options_, &engine), SALE_OK) << sale_last_error();
  sale_tuning_release(tuning); // the engine keeps what it needs
  sale_engine_release(engine_);
  engine_ = engine;
  sale_plan_release(prepare());
  layers.shipped = 0;
  ASSERT_EQ(sale_tuning_load_layers(&layers, &tuning), SALE_OK);
  EXPECT_EQ(tuning, nullptr);
}

} // namespace
} // namespace sale
