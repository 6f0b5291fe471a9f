// SPDX-License-Identifier: Apache-2.0
// The cache's parser on any bytes, and again as if their checksum matched so that the header is reached. What it takes
// must come back the same from its own serialization.
#include "cache/entry.hpp"

#include <cstdlib>

namespace {

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

void parse(std::span<const unsigned char> bytes, bool are_known) {
  const sale::ParsedEntry parsed = sale::parse_entry(bytes, are_known);
  require(parsed.entry.has_value() == parsed.problem.empty());
  if (parsed.entry) {
    const std::vector<unsigned char> again = serialize(*parsed.entry);
    require(again.size() == bytes.size());
    const sale::ParsedEntry reparsed = sale::parse_entry(again);
    require(reparsed.entry && serialize(*reparsed.entry) == again);
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char *data, std::size_t size) {
  parse({data, size}, false);
  parse({data, size}, true);
  return 0;
}
