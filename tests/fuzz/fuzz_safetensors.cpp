// SPDX-License-Identifier: Apache-2.0
// Any bytes either parse to tensors that lie inside the file and apart from each other, or throw sale::Error.
#include "io/safetensors.hpp"
#include "sale/error.hpp"

#include <cstdlib>
#include <cstring>

namespace {

void parse_and_check(std::span<const std::byte> bytes, std::uint64_t file_size) {
  try {
    const auto header = sale::io::parse_safetensors(bytes, file_size, "fuzz");
    std::uint64_t end_of_previous = 0;
    for (const auto &tensor : header.tensors) {
      if (tensor.offset < end_of_previous || tensor.bytes > file_size || tensor.offset > file_size - tensor.bytes) {
        std::abort();
      }
      end_of_previous = tensor.offset + tensor.bytes;
    }
  } catch (const sale::Error &error) {
    if (std::strchr(error.what(), '\n') != nullptr) {
      std::abort();
    }
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const std::span input(reinterpret_cast<const std::byte *>(data), size);
  parse_and_check(input, size);

  // The same bytes as the JSON of a file whose length field is right, followed by 4 KiB of data: so the fuzzer gets
  // past the length without having to guess it.
  std::vector<std::byte> framed(8 + size);
  for (std::size_t i = 0; i < 8; ++i) {
    framed[i] = static_cast<std::byte>(size >> (8 * i));
  }
  std::copy(input.begin(), input.end(), framed.begin() + 8);
  parse_and_check(framed, framed.size() + 4096);
  return 0;
}
