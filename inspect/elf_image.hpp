// SPDX-License-Identifier: Apache-2.0
// The sections and symbols of an ELF64 file in memory. Every offset and size is checked: a malformed file throws
// Error(load) and reads nothing out of bounds.
#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace sale {

struct ElfSection {
  std::string_view name;
  std::uint32_t type = 0;
  std::uint64_t size = 0;                  ///< In memory; a section without bytes in the file has one too.
  std::span<const unsigned char> contents; ///< Empty for a section without bytes in the file.
};

struct ElfSymbol {
  std::string_view name;
  unsigned char type = 0;  ///< STT_FUNC, ...
  unsigned char other = 0; ///< Flags of the processor.
  std::uint16_t section = 0;
  std::uint64_t value = 0;
};

/// Views into the bytes that it was made of, which must outlive it.
class ElfImage {
public:
  explicit ElfImage(std::span<const unsigned char> file);

  const Elf64_Ehdr &header() const { return header_; }
  const std::vector<ElfSection> &sections() const { return sections_; }
  const std::vector<ElfSymbol> &symbols() const { return symbols_; }
  /// Null when there is none.
  const ElfSection *find_section(std::string_view name) const;

private:
  void read_sections(std::span<const unsigned char> file);
  void read_symbols(const Elf64_Shdr &table, std::span<const unsigned char> contents);

  Elf64_Ehdr header_{};
  std::vector<ElfSection> sections_;
  std::vector<ElfSymbol> symbols_;
};

/// The bytes [offset, offset + size); throws Error(load) that names `what` when they are not all there.
std::span<const unsigned char> elf_bytes(std::span<const unsigned char> bytes, std::uint64_t offset, std::uint64_t size,
                                         std::string_view what);

/// A plain value at `offset`, wherever it is aligned.
template <class Value>
Value elf_value(std::span<const unsigned char> bytes, std::uint64_t offset, std::string_view what) {
  Value value;
  std::memcpy(&value, elf_bytes(bytes, offset, sizeof(Value), what).data(), sizeof(Value));
  return value;
}

} // namespace sale
