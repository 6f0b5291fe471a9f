// SPDX-License-Identifier: Apache-2.0
// Any text either is a manifest that comes back the same from its own text, or throws sale::Error of one line.
#include "io/manifest.hpp"
#include "sale/error.hpp"

#include <cstdlib>
#include <cstring>
#include <optional>

namespace {

std::optional<sale::io::Manifest> parse(const std::string &text) {
  try {
    return sale::io::parse_manifest(text, "fuzz");
  } catch (const sale::Error &error) {
    if (std::strchr(error.what(), '\n') != nullptr) {
      std::abort();
    }
    return std::nullopt;
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char *data, std::size_t size) {
  if (const auto manifest = parse({reinterpret_cast<const char *>(data), size})) {
    const std::string text = manifest_text(*manifest);
    const auto again = parse(text);
    if (!again || manifest_text(*again) != text) {
      std::abort();
    }
  }
  return 0;
}
