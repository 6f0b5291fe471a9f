// SPDX-License-Identifier: Apache-2.0
// Any text either is a tuning record that comes back the same from its own text, or throws sale::Error of one line.
#include "autotune/record/record.hpp"
#include "sale/error.hpp"

#include <cstdlib>
#include <cstring>
#include <optional>

namespace {

std::optional<sale::TuningRecord> parse(const std::string &text) {
  try {
    return sale::autotune::parse_record(text, "fuzz");
  } catch (const sale::Error &error) {
    if (std::strchr(error.what(), '\n') != nullptr) {
      std::abort();
    }
    return std::nullopt;
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char *data, std::size_t size) {
  if (const auto record = parse({reinterpret_cast<const char *>(data), size})) {
    const std::string text = sale::autotune::record_text(*record);
    const auto again = parse(text);
    if (!again || sale::autotune::record_text(*again) != text) {
      std::abort();
    }
  }
  return 0;
}
