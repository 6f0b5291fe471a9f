// SPDX-License-Identifier: Apache-2.0
// Structs of callers that are older or newer than the library, and of those who have not filled them in.
#include "c_api/structs.hpp"
#include "c_api/to_cpp.hpp"

#include <gtest/gtest.h>

#include <array>

namespace sale::c_api {
namespace {

template <class T>
std::string refusal_of(const T &given) {
  try {
    read(&given);
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    return error.what();
  }
  return "";
}

bool has(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

// A problem of a later version, which has one member more.
struct LaterProblem {
  sale_problem known;
  std::int64_t more;
};

TEST(CStructs, have_the_defaults_of_the_cpp_api) {
  sale_policy policy;
  std::memset(&policy, 0xFF, sizeof(policy));
  sale_policy_init(&policy, sizeof(policy));
  const Policy defaults;
  EXPECT_EQ(policy.struct_size, sizeof(policy));
  EXPECT_EQ(policy.tau, defaults.tau);
  EXPECT_EQ(policy.block_q, defaults.block_q);
  EXPECT_EQ(policy.window, defaults.window);
  EXPECT_EQ(policy.estimator, static_cast<int>(defaults.estimator));
  EXPECT_EQ(policy.tau_per_head, nullptr);
  sale_options options;
  std::memset(&options, 0xFF, sizeof(options));
  sale_options_init(&options, sizeof(options));
  EXPECT_EQ(options.cache_max_bytes, Options().cache_max_bytes);
  EXPECT_EQ(options.use_disk_cache, 1);
  EXPECT_EQ(options.cancelled, nullptr);
  sale_background_tuning_options tuning;
  sale_background_tuning_options_init(&tuning, sizeof(tuning));
  EXPECT_EQ(tuning.budget_seconds, BackgroundTuningOptions().budget_seconds);
  EXPECT_EQ(read<sale_problem>(nullptr).head_dim, Problem().head_dim);
}

TEST(CStructs, that_nobody_has_filled_in_are_refused) {
  const sale_problem problem{};
  EXPECT_TRUE(has(refusal_of(problem), "sale_problem has struct_size 0")) << refusal_of(problem);
  EXPECT_TRUE(has(refusal_of(problem), "sale_problem_init"));
  sale_run_args args;
  sale_run_args_init(&args, sizeof(args));
  args.struct_size -= 8;
  EXPECT_TRUE(has(refusal_of(args), "sale_run_args has struct_size"));
}

TEST(CStructs, leave_what_is_reserved_to_later_versions) {
  const auto refused = [](auto init, auto given) {
    init(&given, sizeof(given));
    EXPECT_NO_THROW(to_cpp(read(&given)));
    given.reserved = 1;
    EXPECT_THROW(to_cpp(read(&given)), Error);
  };
  refused(sale_policy_init, sale_policy());
  refused(sale_serving_init, sale_serving());
  refused(sale_shape_init, sale_shape());
  refused(sale_run_args_init, sale_run_args());
  refused(sale_background_tuning_options_init, sale_background_tuning_options());
}

TEST(CStructs, of_a_later_version_are_taken_unless_they_say_what_is_not_known) {
  LaterProblem later;
  std::memset(&later, 0xFF, sizeof(later));
  sale_problem_init(&later.known, sizeof(later));
  EXPECT_EQ(later.more, 0);
  EXPECT_EQ(later.known.struct_size, sizeof(later));
  later.known.head_dim = 64;
  EXPECT_EQ(read(&later.known).head_dim, 64);
  later.more = 1;
  EXPECT_TRUE(has(refusal_of(later.known), "members that libsale")) << refusal_of(later.known);
}

TEST(CStructs, that_are_written_fit_the_caller) {
  struct Later {
    sale_stage_times known;
    double more;
    double beyond;
  } later;
  later.more = later.beyond = 7;
  later.known.struct_size = sizeof(later) - sizeof(double);
  StageTimes times;
  times.attend = 3;
  write(to_c(times), &later.known);
  EXPECT_EQ(later.known.attend, 3);
  EXPECT_EQ(later.known.struct_size, sizeof(later) - sizeof(double));
  EXPECT_EQ(later.more, 0) << "what the library does not know";
  EXPECT_EQ(later.beyond, 7) << "not the struct's";
  sale_stage_times unsized{};
  EXPECT_THROW(write(to_c(times), &unsized), Error);
}

TEST(CStructs, carry_every_argument_of_a_run) {
  // Every pointer and number another one, so that none can take another's place.
  sale_run_args from;
  sale_run_args_init(&from, sizeof(from));
  std::array<char, 64> memory{};
  std::size_t next = 0;
  const auto fill = [&](auto *&pointer) {
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(&memory.at(next++));
  };
  fill(from.q.data);
  fill(from.k.data);
  fill(from.v.data);
  fill(from.out.data);
  fill(from.lse);
  fill(from.workspace);
  fill(from.tau);
  fill(from.shift);
  fill(from.kbar);
  fill(from.channels);
  fill(from.projection);
  fill(from.sink_logits);
  fill(from.mask_in);
  fill(from.mask_out);
  fill(from.cu_seqlens_q);
  fill(from.cu_seqlens_kv);
  fill(from.q_lens);
  fill(from.kv_lens);
  fill(from.block_table);
  fill(from.code_cache);
  fill(from.coded_lens);
  fill(from.q_positions);
  fill(from.key_offsets);
  fill(from.threshold_in);
  fill(from.threshold_out);
  from.batch = 2;
  from.q_len = 3;
  from.kv_len = 4;
  from.total_q = 5;
  from.total_kv = 6;
  from.expected_density = 0.5F;
  from.workspace_bytes = 7;
  from.block_table_stride = 8;
  from.num_pages = 9;
  from.kbar_shared = 1;
  from.k.stride_batch = 10;
  from.k.stride_head = 11;
  from.k.stride_token = 12;
  const RunArgs to = to_cpp(read(&from));
  std::size_t at = 0;
  for (const void *pointer : std::initializer_list<const void *>{
           to.q.data,        to.k.data,      to.v.data,      to.out.data,     to.lse,
           to.workspace,     to.tau,         to.shift,       to.kbar,         to.channels,
           to.projection,    to.sink_logits, to.mask_in,     to.mask_out,     to.cu_seqlens_q,
           to.cu_seqlens_kv, to.q_lens,      to.kv_lens,     to.block_table,  to.code_cache,
           to.coded_lens,    to.q_positions, to.key_offsets, to.threshold_in, to.threshold_out}) {
    EXPECT_EQ(pointer, &memory.at(at)) << at;
    ++at;
  }
  EXPECT_EQ(at, next);
  EXPECT_EQ(to.shape.batch, 2);
  EXPECT_EQ(to.shape.q_len, 3);
  EXPECT_EQ(to.shape.kv_len, 4);
  EXPECT_EQ(to.shape.total_q, 5);
  EXPECT_EQ(to.shape.total_kv, 6);
  EXPECT_EQ(to.expected_density, 0.5F);
  EXPECT_EQ(to.workspace_bytes, 7U);
  EXPECT_EQ(to.block_table_stride, 8);
  EXPECT_EQ(to.num_pages, 9);
  EXPECT_TRUE(to.kbar_shared);
  EXPECT_EQ(to.k.stride_batch, 10);
  EXPECT_EQ(to.k.stride_head, 11);
  EXPECT_EQ(to.k.stride_token, 12);
}

TEST(CStructs, carry_every_number_of_a_policy) {
  sale_policy from;
  sale_policy_init(&from, sizeof(from));
  const std::array<float, 3> numbers = {1, 2, 3};
  const std::array<std::int32_t, 2> channels = {4, 5};
  from.estimator = SALE_ESTIMATOR_FP8;
  from.block_q = 128;
  from.block_k = 64;
  from.sink = 33;
  from.window = 129;
  from.tau = 0.5F;
  from.tau_per_head = numbers.data();
  from.tau_per_head_count = 3;
  from.shift_per_head = numbers.data();
  from.shift_per_head_count = 2;
  from.projection = numbers.data() + 1;
  from.projection_count = 1;
  from.channels = channels.data();
  from.channels_count = 2;
  from.estimate_dim = 32;
  from.prune_queries = from.fp8_attend = from.second_filter = 1;
  from.dense_below = 77;
  const Policy to = to_cpp(read(&from));
  EXPECT_EQ(to.estimator, Estimator::fp8);
  EXPECT_EQ(to.block_q, 128);
  EXPECT_EQ(to.block_k, 64);
  EXPECT_EQ(to.sink, 33);
  EXPECT_EQ(to.window, 129);
  EXPECT_EQ(to.tau, 0.5F);
  EXPECT_EQ(to.tau_per_head, (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(to.shift_per_head, (std::vector<float>{1, 2}));
  EXPECT_EQ(to.projection, (std::vector<float>{2}));
  EXPECT_EQ(to.channels, (std::vector<int>{4, 5}));
  EXPECT_EQ(to.estimate_dim, 32);
  EXPECT_TRUE(to.prune_queries && to.fp8_attend && to.second_filter);
  EXPECT_EQ(to.dense_below, 77);
}

} // namespace
} // namespace sale::c_api
