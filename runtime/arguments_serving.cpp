// SPDX-License-Identifier: Apache-2.0
// How a call hands its sequences over: see Serving.
#include "runtime/arguments.hpp"

#include "runtime/workspace.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <string>

namespace sale {

namespace {

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

void refuse_given(const char *name, const void *pointer, const char *advice) {
  if (pointer != nullptr) {
    refuse(fmt::format("{} is given, but {}", name, advice));
  }
}

void require_integers(const char *name, const std::int32_t *pointer) {
  if (reinterpret_cast<std::uintptr_t>(pointer) % alignof(std::int32_t) != 0) {
    refuse(fmt::format("{} is not {}-byte aligned", name, alignof(std::int32_t)));
  }
}

// First rows of packed sequences: there exactly where the shape says how many rows those have.
void check_cu_seqlens(const char *name, const std::int32_t *cu_seqlens, const char *total_name, int total) {
  if (total > 0 && cu_seqlens == nullptr) {
    refuse(fmt::format("{} is null; {} is {}, so give the [batch + 1] first rows of the sequences", name, total_name,
                       total));
  }
  if (total == 0 && cu_seqlens != nullptr) {
    refuse(fmt::format("{} is given, but {} is 0; set it to the number of packed rows, or give lengths only", name,
                       total_name));
  }
}

void check_plain(const RunArgs &args) {
  const char *advice = "the plan was prepared for sequences of one length; prepare it with serving.ragged";
  refuse_given("cu_seqlens_q", args.cu_seqlens_q, advice);
  refuse_given("cu_seqlens_kv", args.cu_seqlens_kv, advice);
  refuse_given("q_lens", args.q_lens, advice);
  refuse_given("kv_lens", args.kv_lens, advice);
  if (args.kbar_shared && args.shape.batch > 1) {
    refuse("kbar_shared needs a batch of 1 or a plan prepared with serving.ragged");
  }
}

void check_ragged(const RunArgs &args, const Serving &serving) {
  check_cu_seqlens("cu_seqlens_q", args.cu_seqlens_q, "shape.total_q", args.shape.total_q);
  if (serving.page_size > 0) {
    refuse_given("cu_seqlens_kv", args.cu_seqlens_kv, "K and V are paged; give kv_lens");
  } else {
    check_cu_seqlens("cu_seqlens_kv", args.cu_seqlens_kv, "shape.total_kv", args.shape.total_kv);
  }
  require_integers("cu_seqlens_q", args.cu_seqlens_q);
  require_integers("cu_seqlens_kv", args.cu_seqlens_kv);
  require_integers("q_lens", args.q_lens);
  require_integers("kv_lens", args.kv_lens);
}

void check_pages(const RunArgs &args, const Serving &serving) {
  if (serving.page_size == 0) {
    refuse_given("block_table", args.block_table, "the plan was prepared without pages; give serving.page_size");
    return;
  }
  if (args.block_table == nullptr) {
    refuse(fmt::format("block_table is null; the plan was prepared with pages of {} keys, so give [batch, "
                       "block_table_stride] numbers of pages",
                       serving.page_size));
  }
  require_integers("block_table", args.block_table);
  const int pages = (args.shape.kv_len + serving.page_size - 1) / serving.page_size;
  if (args.block_table_stride < pages) {
    refuse(fmt::format("block_table_stride {} is too small; sequences of {} keys have up to {} pages of {}",
                       args.block_table_stride, args.shape.kv_len, pages, serving.page_size));
  }
  if (args.num_pages < 1) {
    refuse(fmt::format("num_pages {} must be the number of pages that k and v have, at least 1", args.num_pages));
  }
}

void check_code_cache(const RunArgs &args, const Policy &policy, const Serving &serving) {
  if (!serving.code_cache) {
    const char *advice = "the plan was prepared without a cache of codes; set serving.code_cache";
    refuse_given("code_cache", args.code_cache, advice);
    refuse_given("coded_lens", args.coded_lens, advice);
    return;
  }
  if (args.code_cache == nullptr) {
    refuse(
        "code_cache is null; the plan was prepared with serving.code_cache, so give Plan::code_cache_bytes(num_pages) "
        "of device memory");
  }
  if (reinterpret_cast<std::uintptr_t>(args.code_cache) % workspace_alignment != 0) {
    refuse(fmt::format("code_cache is not {}-byte aligned", workspace_alignment));
  }
  require_integers("coded_lens", args.coded_lens);
  if (args.kbar == nullptr && policy.kbar.empty()) {
    refuse("kbar is null; codes that stay in a cache need the kbar that they were made with");
  }
  const bool by_energy = policy.estimate_dim != 0 && policy.projection.empty() && policy.channels.empty();
  if (by_energy && args.channels == nullptr) {
    refuse("channels is null; codes that stay in a cache need the channels that they were made with");
  }
}

void check_parts(const RunArgs &args, const Serving &serving) {
  if (!serving.parts) {
    const char *advice = "the plan was prepared for whole contexts; prepare it with serving.parts";
    refuse_given("q_positions", args.q_positions, advice);
    refuse_given("key_offsets", args.key_offsets, advice);
    refuse_given("threshold_in", args.threshold_in, advice);
    refuse_given("threshold_out", args.threshold_out, advice);
    return;
  }
  require_integers("q_positions", args.q_positions);
  require_integers("key_offsets", args.key_offsets);
}

} // namespace

void validate_serving(const RunArgs &args, const Policy &policy, const Serving &serving) {
  if (serving.is_ragged()) {
    check_ragged(args, serving);
  } else {
    check_plain(args);
  }
  if (args.kbar_shared && args.kbar == nullptr) {
    refuse("kbar_shared is set, but kbar is null; give one mean per KV head");
  }
  check_pages(args, serving);
  check_code_cache(args, policy, serving);
  check_parts(args, serving);
}

} // namespace sale
