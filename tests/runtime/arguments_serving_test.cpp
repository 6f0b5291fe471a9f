// SPDX-License-Identifier: Apache-2.0
#include "runtime/arguments.hpp"
#include "tests/runtime/fakes.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace sale {
namespace {

const std::int32_t *integers(std::uintptr_t address) { return reinterpret_cast<const std::int32_t *>(address); }

RunArgs &cached(RunArgs &args, Serving &serving) {
  serving.page_size = 64;
  serving.code_cache = true;
  args.block_table = integers(16);
  args.block_table_stride = 4;
  args.num_pages = 9;
  args.code_cache = reinterpret_cast<void *>(0x9000);
  args.kbar = reinterpret_cast<const float *>(0xa000);
  return args;
}

struct BadServing {
  const char *name;
  std::function<void(RunArgs &, Serving &)> spoil;
  const char *sentence;
};

void PrintTo(const BadServing &bad, std::ostream *out) { *out << bad.name; }

class BadServings : public testing::TestWithParam<BadServing> {};

TEST_P(BadServings, AreRefusedWithASentence) {
  RunArgs args;
  args.shape = {2, 100, 200};
  Serving serving;
  GetParam().spoil(args, serving);
  const Error error = error_of([&] { validate_serving(args, Policy(), serving); });
  EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
  EXPECT_STREQ(error.what(), GetParam().sentence);
}

INSTANTIATE_TEST_SUITE_P(
    Every, BadServings,
    testing::Values(
        BadServing{"CuSeqlensQOfAPlainPlan", [](RunArgs &a, Serving &) { a.cu_seqlens_q = integers(16); },
                   "cu_seqlens_q is given, but the plan was prepared for sequences of one length; prepare it with "
                   "serving.ragged"},
        BadServing{"CuSeqlensKvOfAPlainPlan", [](RunArgs &a, Serving &) { a.cu_seqlens_kv = integers(16); },
                   "cu_seqlens_kv is given, but the plan was prepared for sequences of one length; prepare it with "
                   "serving.ragged"},
        BadServing{"QLensOfAPlainPlan", [](RunArgs &a, Serving &) { a.q_lens = integers(16); },
                   "q_lens is given, but the plan was prepared for sequences of one length; prepare it with "
                   "serving.ragged"},
        BadServing{"KvLensOfAPlainPlan", [](RunArgs &a, Serving &) { a.kv_lens = integers(16); },
                   "kv_lens is given, but the plan was prepared for sequences of one length; prepare it with "
                   "serving.ragged"},
        BadServing{"SharedKbarOfAPlainBatch", [](RunArgs &a, Serving &) { a.kbar_shared = true; },
                   "kbar_shared needs a batch of 1 or a plan prepared with serving.ragged"},
        BadServing{"SharedKbarThatIsNotThere",
                   [](RunArgs &a, Serving &s) {
                     s.ragged = true;
                     a.kbar_shared = true;
                   },
                   "kbar_shared is set, but kbar is null; give one mean per KV head"},
        BadServing{"PackedRowsWithoutTheirFirst",
                   [](RunArgs &a, Serving &s) {
                     s.ragged = true;
                     a.shape.total_q = 150;
                   },
                   "cu_seqlens_q is null; shape.total_q is 150, so give the [batch + 1] first rows of the sequences"},
        BadServing{"FirstRowsOfPaddedKeys",
                   [](RunArgs &a, Serving &s) {
                     s.ragged = true;
                     a.cu_seqlens_kv = integers(16);
                   },
                   "cu_seqlens_kv is given, but shape.total_kv is 0; set it to the number of packed rows, or give "
                   "lengths only"},
        BadServing{"MisalignedLengths",
                   [](RunArgs &a, Serving &s) {
                     s.ragged = true;
                     a.kv_lens = integers(18);
                   },
                   "kv_lens is not 4-byte aligned"},
        BadServing{"FirstRowsOfPages",
                   [](RunArgs &a, Serving &s) {
                     s.page_size = 64;
                     a.cu_seqlens_kv = integers(16);
                   },
                   "cu_seqlens_kv is given, but K and V are paged; give kv_lens"},
        BadServing{"NoBlockTable", [](RunArgs &, Serving &s) { s.page_size = 64; },
                   "block_table is null; the plan was prepared with pages of 64 keys, so give [batch, "
                   "block_table_stride] numbers of pages"},
        BadServing{"NarrowBlockTable",
                   [](RunArgs &a, Serving &s) {
                     s.page_size = 64;
                     a.block_table = integers(16);
                     a.block_table_stride = 3;
                   },
                   "block_table_stride 3 is too small; sequences of 200 keys have up to 4 pages of 64"},
        BadServing{"NoPages",
                   [](RunArgs &a, Serving &s) {
                     s.page_size = 64;
                     a.block_table = integers(16);
                     a.block_table_stride = 4;
                   },
                   "num_pages 0 must be the number of pages that k and v have, at least 1"},
        BadServing{"PagesOfAPlanWithout",
                   [](RunArgs &a, Serving &s) {
                     s.ragged = true;
                     a.block_table = integers(16);
                   },
                   "block_table is given, but the plan was prepared without pages; give serving.page_size"},
        BadServing{"CodesOfAPlanWithout", [](RunArgs &a, Serving &) { a.code_cache = &a; },
                   "code_cache is given, but the plan was prepared without a cache of codes; set serving.code_cache"},
        BadServing{"NoCache", [](RunArgs &a, Serving &s) { cached(a, s).code_cache = nullptr; },
                   "code_cache is null; the plan was prepared with serving.code_cache, so give "
                   "Plan::code_cache_bytes(num_pages) of device memory"},
        BadServing{"MisalignedCache",
                   [](RunArgs &a, Serving &s) { cached(a, s).code_cache = reinterpret_cast<void *>(0x9080); },
                   "code_cache is not 256-byte aligned"},
        BadServing{"CachedCodesWithoutTheirMean", [](RunArgs &a, Serving &s) { cached(a, s).kbar = nullptr; },
                   "kbar is null; codes that stay in a cache need the kbar that they were made with"},
        BadServing{"PositionsOfAPlanWithoutParts",
                   [](RunArgs &a, Serving &s) {
                     s.ragged = true;
                     a.q_positions = integers(16);
                   },
                   "q_positions is given, but the plan was prepared for whole contexts; prepare it with "
                   "serving.parts"}),
    [](const auto &bad) { return std::string(bad.param.name); });

TEST(Serving, WithCachedCodesOfFewerChannelsSaysWhich) {
  RunArgs args;
  args.shape = {2, 100, 200};
  Serving serving;
  cached(args, serving);
  Policy policy;
  policy.estimator = Estimator::fp8;
  EXPECT_NO_THROW(validate_serving(args, policy, serving));
  policy.estimate_dim = 64;
  EXPECT_STREQ(error_of([&] { validate_serving(args, policy, serving); }).what(),
               "channels is null; codes that stay in a cache need the channels that they were made with");
  args.channels = integers(16);
  EXPECT_NO_THROW(validate_serving(args, policy, serving));
}

TEST(Serving, IsAcceptedWhenItIsRight) {
  RunArgs args;
  args.shape = {2, 100, 200};
  EXPECT_NO_THROW(validate_serving(args, Policy(), {}));
  Serving serving;
  serving.ragged = true;
  EXPECT_NO_THROW(validate_serving(args, Policy(), serving));
  args.kv_lens = args.q_lens = integers(16);
  args.shape.total_q = 150;
  args.cu_seqlens_q = integers(16);
  EXPECT_NO_THROW(validate_serving(args, Policy(), serving));
  serving.page_size = 64;
  args.block_table = integers(16);
  args.block_table_stride = 4;
  args.num_pages = 9;
  EXPECT_NO_THROW(validate_serving(args, Policy(), serving));
}

} // namespace
} // namespace sale
