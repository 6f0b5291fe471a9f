// SPDX-License-Identifier: Apache-2.0
#include "inspect/cubin.hpp"

#include "inspect/elf_image.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace sale {

namespace {

constexpr std::uint16_t machine_cuda = 190;
constexpr unsigned char symbol_is_entry = 0x10; // in st_other: a kernel, not a function that kernels call

// The records of .nv.info: 4 bytes of format, attribute and value or, for sized ones, the size of what follows. Names
// as nvdisasm prints them.
enum class RecordFormat : unsigned char { none = 1, byte = 2, half = 3, sized = 4 };
enum class Attribute : unsigned char {
  frame_size = 0x11,
  min_stack_size = 0x12,
  cbank_param_size = 0x19,
  max_stack_size = 0x23,
  regcount = 0x2f,
  num_barriers = 0x4c
};

struct Record {
  Attribute attribute{};
  int value = 0;                          ///< Of byte and half records.
  std::span<const unsigned char> payload; ///< Of sized records.
};

std::vector<Record> read_records(std::span<const unsigned char> section) {
  constexpr const char *what = "its .nv.info";
  std::vector<Record> records;
  std::uint64_t at = 0;
  while (at < section.size()) {
    const auto head = elf_bytes(section, at, 4, what);
    at += 4;
    Record record{static_cast<Attribute>(head[1]), 0, {}};
    const int half = head[2] | head[3] << 8;
    switch (static_cast<RecordFormat>(head[0])) {
    case RecordFormat::none: break;
    case RecordFormat::byte: record.value = head[2]; break;
    case RecordFormat::half: record.value = half; break;
    case RecordFormat::sized:
      record.payload = elf_bytes(section, at, static_cast<std::uint64_t>(half), what);
      at += static_cast<std::uint64_t>(half);
      break;
    default: throw Error(ErrorKind::load, fmt::format("this cubin's .nv.info has a record of format {}", head[0]));
    }
    records.push_back(record);
  }
  return records;
}

int as_int(std::uint64_t value, const char *what) {
  if (value > 0x7fffffffU) {
    throw Error(ErrorKind::load, fmt::format("this cubin claims {} bytes of {}", value, what));
  }
  return static_cast<int>(value);
}

// From sm_90 on the system takes the first KiB of each CTA's shared memory. The section's size counts it; on older
// ones, which have no such section, it does not.
std::uint64_t reserved_shared_bytes(const ElfImage &elf) {
  return elf.find_section(".nv.shared.reserved.0") == nullptr ? 0 : 1024;
}

// The file-wide records: a symbol's index and a number.
void add_symbol_records(const ElfImage &elf, std::map<std::string_view, CubinKernel> &kernels) {
  const ElfSection *info = elf.find_section(".nv.info");
  if (info == nullptr) {
    return;
  }
  for (const Record &record : read_records(info->contents)) {
    if (record.payload.size() < 8) {
      continue;
    }
    const auto index = elf_value<std::uint32_t>(record.payload, 0, "its .nv.info");
    const auto number = elf_value<std::uint32_t>(record.payload, 4, "its .nv.info");
    const auto kernel = index < elf.symbols().size() ? kernels.find(elf.symbols()[index].name) : kernels.end();
    if (kernel == kernels.end()) {
      continue;
    }
    switch (record.attribute) {
    case Attribute::regcount: kernel->second.registers = as_int(number, "registers"); break;
    case Attribute::frame_size:
    case Attribute::min_stack_size:
      kernel->second.local_bytes = std::max(kernel->second.local_bytes, as_int(number, "local memory"));
      break;
    case Attribute::max_stack_size: kernel->second.max_stack_bytes = as_int(number, "stack"); break;
    default: break;
    }
  }
}

void add_kernel_sections(const ElfImage &elf, CubinKernel &kernel) {
  if (const ElfSection *info = elf.find_section(".nv.info." + kernel.name)) {
    for (const Record &record : read_records(info->contents)) {
      if (record.attribute == Attribute::cbank_param_size) {
        kernel.parameter_bytes = record.value;
      } else if (record.attribute == Attribute::num_barriers) {
        kernel.barriers = record.value;
      }
    }
  }
  if (const ElfSection *shared = elf.find_section(".nv.shared." + kernel.name)) {
    const std::uint64_t reserved = std::min(shared->size, reserved_shared_bytes(elf));
    kernel.static_shared_bytes = as_int(shared->size - reserved, "shared memory");
  }
}

// Before ABI version 8 the architecture is the flags' lowest byte, then it is the one above.
int arch_of(const Elf64_Ehdr &header) {
  return static_cast<int>(header.e_ident[EI_ABIVERSION] >= 8 ? (header.e_flags >> 8U) & 0xffU : header.e_flags & 0xffU);
}

} // namespace

Cubin inspect_cubin(std::span<const unsigned char> bytes) {
  const ElfImage elf(bytes);
  if (elf.header().e_machine != machine_cuda) {
    throw Error(ErrorKind::load,
                fmt::format("this ELF file is for machine {}, not a cubin ({})", elf.header().e_machine, machine_cuda));
  }
  std::map<std::string_view, CubinKernel> kernels;
  for (const ElfSymbol &symbol : elf.symbols()) {
    if (symbol.type != STT_FUNC || (symbol.other & symbol_is_entry) == 0 || symbol.section >= elf.sections().size()) {
      continue;
    }
    const ElfSection &code = elf.sections()[symbol.section];
    CubinKernel &kernel = kernels[symbol.name];
    kernel.name = symbol.name;
    kernel.code_bytes = as_int(code.size, "code");
    kernel.instructions = count_instructions(code.contents);
    add_kernel_sections(elf, kernel);
  }
  add_symbol_records(elf, kernels);
  Cubin cubin{arch_of(elf.header()), {}};
  for (auto &[name, kernel] : kernels) {
    cubin.kernels.push_back(std::move(kernel));
  }
  return cubin;
}

} // namespace sale
