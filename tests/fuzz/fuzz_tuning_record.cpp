// SPDX-License-Identifier: Apache-2.0
// A tuning record is refused with an Error, or is one that can be written and read back.
#include "autotune/record/record.hpp"
#include "sale/error.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  sale::TuningRecord record;
  try {
    record = sale::autotune::parse_record(std::string(reinterpret_cast<const char *>(data), size), "fuzz.yaml");
  } catch (const sale::Error &) {
    return 0;
  }
  const std::string text = sale::autotune::record_text(record);
  if (sale::autotune::record_text(sale::autotune::parse_record(text, "fuzz.yaml")) != text) {
    std::abort();
  }
  return 0;
}
