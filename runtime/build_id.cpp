// SPDX-License-Identifier: Apache-2.0
#include "runtime/build_id.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <elf.h>
#include <fstream>
#include <link.h>
#include <span>
#include <vector>

namespace sale {

namespace {

constexpr std::size_t max_note_bytes = 4096;
constexpr unsigned max_program_headers = 64;

template <class T>
bool read_at(std::ifstream &file, std::uint64_t offset, T *out, std::size_t count) {
  file.clear();
  file.seekg(static_cast<std::streamoff>(offset));
  const auto bytes = static_cast<std::streamsize>(count * sizeof(T));
  return static_cast<bool>(file.read(reinterpret_cast<char *>(out), bytes));
}

// A note is name size, description size, type, then both padded to four bytes.
std::string build_id_in(std::span<const unsigned char> notes) {
  const auto padded = [](std::size_t bytes) { return (bytes + 3) / 4 * 4; };
  std::size_t at = 0;
  while (notes.size() - at >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr note{};
    std::memcpy(&note, notes.data() + at, sizeof note);
    at += sizeof note;
    const std::size_t name = at;
    if (padded(note.n_namesz) + padded(note.n_descsz) > notes.size() - at) {
      return {};
    }
    const std::size_t description = name + padded(note.n_namesz);
    at = description + padded(note.n_descsz);
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(notes.data() + name, "GNU", 4) == 0) {
      std::string id;
      for (std::size_t i = 0; i < note.n_descsz; ++i) {
        id += fmt::format("{:02x}", notes[description + i]);
      }
      return id;
    }
  }
  return {};
}

} // namespace

std::string read_build_id(const std::filesystem::path &path) {
  std::ifstream file(path, std::ios::binary);
  Elf64_Ehdr header{};
  if (!read_at(file, 0, &header, 1) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > max_program_headers) {
    return {};
  }
  std::vector<Elf64_Phdr> segments(header.e_phnum);
  if (!read_at(file, header.e_phoff, segments.data(), segments.size())) {
    return {};
  }
  for (const Elf64_Phdr &segment : segments) {
    if (segment.p_type != PT_NOTE || segment.p_filesz > max_note_bytes) {
      continue;
    }
    std::vector<unsigned char> notes(segment.p_filesz);
    if (read_at(file, segment.p_offset, notes.data(), notes.size())) {
      if (std::string id = build_id_in(notes); !id.empty()) {
        return id;
      }
    }
  }
  return {};
}

std::string loaded_build_id(const void *address) {
  struct Search {
    std::uintptr_t address;
    std::string id;
  } search{reinterpret_cast<std::uintptr_t>(address), {}};
  const auto look = [](dl_phdr_info *info, std::size_t, void *data) {
    auto &wanted = *static_cast<Search *>(data);
    const std::span segments(info->dlpi_phdr, info->dlpi_phnum);
    const bool here = std::any_of(segments.begin(), segments.end(), [&](const ElfW(Phdr) & segment) {
      const std::uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
      return segment.p_type == PT_LOAD && wanted.address >= begin && wanted.address < begin + segment.p_memsz;
    });
    if (!here) {
      return 0;
    }
    for (const ElfW(Phdr) & segment : segments) {
      if (segment.p_type == PT_NOTE && wanted.id.empty()) {
        const auto *notes = reinterpret_cast<const unsigned char *>(info->dlpi_addr + segment.p_vaddr);
        wanted.id = build_id_in({notes, segment.p_memsz});
      }
    }
    return 1;
  };
  ::dl_iterate_phdr(look, &search);
  return search.id;
}

} // namespace sale
