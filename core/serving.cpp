// SPDX-License-Identifier: Apache-2.0
// Which ways of handing sequences over are supported.
#include "sale/error.hpp"
#include "sale/types.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace sale {

namespace {

constexpr int page_multiple = 16;
constexpr int max_sequences = 4096; // of a ragged call; their numbers have 16 bits
constexpr int max_total = 1 << 20;  // of a ragged call
constexpr int tile_rows = 128;      // of what the workspace has of each sequence
constexpr int unit_rows = 512;      // of the schedule
constexpr int piece_rows = 64;      // the least that persistent kernels work on

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

void validate_totals(const Shape &shape, const Serving &serving) {
  if (shape.total_q < 0 || shape.total_kv < 0 || std::max(shape.total_q, shape.total_kv) > max_total) {
    refuse(fmt::format("total_q {} and total_kv {} must be between 0 and {}; more sequences need more calls",
                       shape.total_q, shape.total_kv, max_total));
  }
  if (shape.total_kv > 0 && serving.page_size > 0) {
    refuse(fmt::format("total_kv {} is of packed K and V, but the plan was prepared with serving.page_size {}; set "
                       "total_kv to 0",
                       shape.total_kv, serving.page_size));
  }
}

// Kernels number pieces of 64 query rows, and rows of codes, in 32 bits.
void validate_sizes(const Shape &shape, const Problem &problem, const Serving &serving) {
  constexpr std::int64_t max_pieces = std::int64_t{1} << 29;
  constexpr std::int64_t max_codes = std::int64_t{1} << 31;
  const std::int64_t batch = shape.batch;
  const auto blocks = [batch](int length, int total, int block) {
    return total > 0 ? total / block + batch : batch * ((length + block - 1) / block);
  };
  const int rows = serving.is_ragged() ? unit_rows : piece_rows;
  const std::int64_t pieces = blocks(shape.q_len, shape.total_q, rows) * (rows / piece_rows) * problem.num_q_heads;
  if (pieces >= max_pieces) {
    refuse(fmt::format("{} sequences of {} query rows and {} heads are too many for one call; split the batch",
                       shape.batch, shape.q_len, problem.num_q_heads));
  }
  const std::int64_t codes = blocks(shape.kv_len, shape.total_kv, tile_rows) * tile_rows * problem.num_kv_heads;
  if (serving.is_ragged() && codes >= max_codes) {
    refuse(fmt::format("{} sequences of {} keys and {} KV heads are too many for one call; split the batch",
                       shape.batch, shape.kv_len, problem.num_kv_heads));
  }
}

// Codes that outlast a call must not depend on what else it brings.
void validate_code_cache(const Serving &serving, const Policy &policy) {
  if (serving.page_size == 0 || serving.page_size % 32 != 0) {
    refuse(fmt::format("code_cache needs pages of a multiple of 32 keys, not page_size {}", serving.page_size));
  }
  if (policy.estimator != Estimator::int8 && policy.estimator != Estimator::fp8) {
    refuse(fmt::format("code_cache needs estimator int8 or fp8; {}", policy.estimator == Estimator::int4
                                                                         ? "what int4 makes of keys depends on each "
                                                                           "call's queries"
                                                                         : "exact has no codes"));
  }
  if (policy.fp8_attend) {
    refuse("code_cache and fp8_attend exclude each other; set fp8_attend to false");
  }
}

} // namespace

void validate(const Shape &shape, const Problem &problem, const Serving &serving) {
  if (!serving.is_ragged()) {
    validate(shape, problem.causal);
    if (shape.total_q != 0 || shape.total_kv != 0) {
      refuse("shape.total_q and total_kv are of packed sequences; prepare the plan with serving.ragged, or set both to "
             "0");
    }
    validate_sizes(shape, problem, serving);
    return;
  }
  validate(shape, false); // which of them have more queries than keys is known on the device
  if (shape.batch > max_sequences) {
    refuse(fmt::format("batch {} is above {}, the most sequences of one ragged call", shape.batch, max_sequences));
  }
  if (shape.kv_len == 0 && shape.q_len > 0 && shape.batch > 0) {
    refuse("kv_len is 0; give the most keys that a sequence may have, at least 1");
  }
  validate_totals(shape, serving);
  validate_sizes(shape, problem, serving);
}

void validate(const Serving &serving, const Problem & /*problem*/, const Policy &policy) {
  if (serving.page_size < 0 || serving.page_size % page_multiple != 0) {
    refuse(
        fmt::format("page_size {} must be a multiple of {} keys, or 0 for no pages", serving.page_size, page_multiple));
  }
  if (serving.code_cache) {
    validate_code_cache(serving, policy);
  }
}

} // namespace sale
