// SPDX-License-Identifier: Apache-2.0
// Which ways of handing sequences over are supported.
#include "sale/error.hpp"
#include "sale/types.hpp"

#include <fmt/format.h>

namespace sale {

namespace {

constexpr int page_multiple = 16;

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

} // namespace

void validate(const Serving &serving, const Problem & /*problem*/, const Policy & /*policy*/) {
  if (serving.page_size < 0 || serving.page_size % page_multiple != 0) {
    refuse(
        fmt::format("page_size {} must be a multiple of {} keys, or 0 for no pages", serving.page_size, page_multiple));
  }
  if (serving.is_ragged() || serving.code_cache) {
    refuse("ragged and paged batches are not supported yet; leave serving as it is and call run once per sequence");
  }
}

} // namespace sale
