// SPDX-License-Identifier: Apache-2.0
// The cache's parser on any bytes, and again with a checksum that matches so that the header is reached.
#include "cache/entry.hpp"

#include <algorithm>
#include <cstdlib>

namespace {

constexpr std::size_t checksum_begin = 24;
constexpr std::size_t checksum_end = 56;

void parse(std::span<const unsigned char> bytes) {
  const sale::ParsedEntry parsed = sale::parse_entry(bytes);
  if (parsed.entry.has_value() == !parsed.problem.empty()) {
    std::abort();
  }
  if (parsed.entry && !sale::parse_entry(sale::serialize(*parsed.entry)).entry) {
    std::abort();
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char *data, std::size_t size) {
  parse({data, size});
  if (size >= checksum_end) {
    std::vector<unsigned char> bytes(data, data + size);
    sale::Sha256 hash;
    hash.update(bytes.data(), checksum_begin);
    hash.update(bytes.data() + checksum_end, size - checksum_end);
    const sale::Digest digest = hash.finish();
    std::copy(digest.begin(), digest.end(), bytes.begin() + checksum_begin);
    parse(bytes);
  }
  return 0;
}
