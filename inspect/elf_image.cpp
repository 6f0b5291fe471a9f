// SPDX-License-Identifier: Apache-2.0
#include "inspect/elf_image.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace sale {

namespace {

[[noreturn]] void malformed(const std::string &why) {
  throw Error(ErrorKind::load, fmt::format("this is not a readable ELF file: {}", why));
}

std::string_view string_at(std::span<const unsigned char> table, std::uint64_t offset) {
  if (offset >= table.size()) {
    malformed("a name lies outside the string table");
  }
  const std::span<const unsigned char> rest = table.subspan(static_cast<std::size_t>(offset));
  const auto end = std::find(rest.begin(), rest.end(), 0);
  if (end == rest.end()) {
    malformed("a name has no end");
  }
  return {reinterpret_cast<const char *>(rest.data()), static_cast<std::size_t>(end - rest.begin())};
}

} // namespace

std::span<const unsigned char> elf_bytes(std::span<const unsigned char> bytes, std::uint64_t offset, std::uint64_t size,
                                         std::string_view what) {
  if (offset > bytes.size() || size > bytes.size() - offset) {
    malformed(fmt::format("it ends inside {}", what));
  }
  return bytes.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(size));
}

ElfImage::ElfImage(std::span<const unsigned char> file) : header_(elf_value<Elf64_Ehdr>(file, 0, "its header")) {
  if (std::memcmp(header_.e_ident, ELFMAG, SELFMAG) != 0) {
    malformed("it does not begin as one");
  }
  if (header_.e_ident[EI_CLASS] != ELFCLASS64 || header_.e_ident[EI_DATA] != ELFDATA2LSB) {
    malformed("it is not a 64-bit little-endian one");
  }
  if (header_.e_shentsize != sizeof(Elf64_Shdr)) {
    malformed(fmt::format("its section headers have {} bytes, not {}", header_.e_shentsize, sizeof(Elf64_Shdr)));
  }
  // Nothing reads the program headers, but a whole file ends with them.
  elf_bytes(file, header_.e_phoff, std::uint64_t{header_.e_phnum} * header_.e_phentsize, "its program headers");
  read_sections(file);
}

void ElfImage::read_sections(std::span<const unsigned char> file) {
  const auto table =
      elf_bytes(file, header_.e_shoff, std::uint64_t{header_.e_shnum} * sizeof(Elf64_Shdr), "its section headers");
  std::vector<Elf64_Shdr> headers(header_.e_shnum);
  for (std::size_t i = 0; i < headers.size(); ++i) {
    headers[i] = elf_value<Elf64_Shdr>(table, i * sizeof(Elf64_Shdr), "its section headers");
  }
  const auto contents_of = [&](const Elf64_Shdr &header) {
    return header.sh_type == SHT_NOBITS ? std::span<const unsigned char>()
                                        : elf_bytes(file, header.sh_offset, header.sh_size, "a section");
  };
  if (header_.e_shstrndx >= headers.size()) {
    malformed("it has no section names");
  }
  const auto names = contents_of(headers[header_.e_shstrndx]);
  sections_.reserve(headers.size());
  for (const Elf64_Shdr &header : headers) {
    sections_.push_back({string_at(names, header.sh_name), header.sh_type, header.sh_size, contents_of(header)});
  }
  for (std::size_t i = 0; i < headers.size(); ++i) {
    if (headers[i].sh_type == SHT_SYMTAB) {
      read_symbols(headers[i], sections_[i].contents);
      break; // a file has at most one
    }
  }
}

void ElfImage::read_symbols(const Elf64_Shdr &table, std::span<const unsigned char> contents) {
  if (table.sh_link >= sections_.size()) {
    malformed("its symbols have no names");
  }
  const auto names = sections_[table.sh_link].contents;
  const std::size_t count = contents.size() / sizeof(Elf64_Sym);
  symbols_.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto symbol = elf_value<Elf64_Sym>(contents, i * sizeof(Elf64_Sym), "its symbols");
    symbols_.push_back({string_at(names, symbol.st_name), static_cast<unsigned char>(ELF64_ST_TYPE(symbol.st_info)),
                        symbol.st_other, symbol.st_shndx, symbol.st_value});
  }
}

const ElfSection *ElfImage::find_section(std::string_view name) const {
  const auto found =
      std::find_if(sections_.begin(), sections_.end(), [&](const ElfSection &section) { return section.name == name; });
  return found == sections_.end() ? nullptr : &*found;
}

} // namespace sale
