// SPDX-License-Identifier: Apache-2.0
#include "cache/key.hpp"

#include "cache/entry.hpp"

#include <cstdint>
#include <string>

namespace sale {

const char *to_string(BinaryKind kind) {
  switch (kind) {
  case BinaryKind::cubin: return "cubin";
  case BinaryKind::ptx: return "ptx";
  case BinaryKind::source: return "source";
  }
  return "unknown";
}

void LabelledHash::add_sized(std::string_view text) {
  std::uint64_t size = text.size();
  unsigned char bytes[8];
  for (unsigned char &byte : bytes) {
    byte = static_cast<unsigned char>(size & 0xff);
    size >>= 8;
  }
  hash_.update(bytes, sizeof bytes);
  hash_.update(text.data(), text.size());
}

void LabelledHash::add(std::string_view label, std::string_view value) {
  add_sized(label);
  add_sized(value);
}

std::string kernel_key(const KeyFields &fields) {
  LabelledHash hash;
  hash.add("schema", std::to_string(entry_schema));
  hash.add("source", fields.source);
  hash.add("options", fields.options);
  hash.add("target", fields.target);
  hash.add("kind", to_string(fields.kind));
  return to_hex(hash.finish());
}

} // namespace sale
