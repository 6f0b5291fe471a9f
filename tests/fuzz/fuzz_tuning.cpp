// SPDX-License-Identifier: Apache-2.0
// Any text either is a tuning record that comes back the same from its own text, or throws sale::Error of one line. Two
// of them, with a zero byte between, merge and compare.
#include "autotune/record/edit.hpp"
#include "autotune/record/record.hpp"
#include "sale/error.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>

namespace {

using namespace sale;
using namespace sale::autotune;

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

std::optional<TuningRecord> parse(const std::string &text) {
  try {
    return parse_record(text, "fuzz");
  } catch (const Error &error) {
    require(std::strchr(error.what(), '\n') == nullptr);
    return std::nullopt;
  }
}

void require_comes_back(const TuningRecord &record) {
  const std::string text = record_text(record);
  const auto again = parse(text);
  require(again && record_text(*again) == text);
}

void merge_and_compare(const TuningRecord &a, TuningRecord b) {
  differences(a, b);
  b.library = a.library;
  b.templates = a.templates;
  const TuningRecord both = merged(a, b);
  require_comes_back(both);
  require(record_text(merged(both, b)) == record_text(both));
  require(differences(both, both).empty());
  for (const TuningDifference &each : differences(both, b)) {
    require(each.after.empty()); // what b has is what both have
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char *data, std::size_t size) {
  const unsigned char *middle = std::find(data, data + size, 0);
  const auto first = parse({data, middle});
  if (!first) {
    return 0;
  }
  require_comes_back(*first);
  const auto second = middle == data + size ? first : parse({middle + 1, data + size});
  if (second) {
    merge_and_compare(*first, *second);
  }
  return 0;
}
