// SPDX-License-Identifier: Apache-2.0
// The cubins are NVRTC's, made here, and are compared with what ptxas says of them. Needs NVRTC, no GPU.
#include "inspect/cubin.hpp"
#include "generator/arch.hpp"
#include "runtime/compiler.hpp"
#include "sale/error.hpp"
#include "tests/support/any_nvrtc.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <elf.h>
#include <random>
#include <string>
#include <vector>

namespace sale {
namespace {

constexpr const char *source = R"(
struct Wide { int x[37]; char c; };
extern "C" __global__ void parameters(Wide wide, char *out, short s) { *out = wide.x[s] + wide.c; }
extern "C" __global__ void __launch_bounds__(128, 2) shared(float *out, int n) {
  __shared__ float fixed[100];
  extern __shared__ float dynamic[];
  fixed[threadIdx.x % 100] = out[threadIdx.x];
  dynamic[threadIdx.x] = 2;
  asm volatile("bar.sync 3, 64;");
  out[threadIdx.x] = fixed[n % 100] + dynamic[n];
}
extern "C" __global__ void local(float *out, int n) {
  float values[64];
  for (int i = 0; i < 64; i++) values[i] = out[i * n];
  for (int i = 0; i < 64; i++) out[i] = values[i * n & 63] + values[out[i] > 0 ? 3 : n & 63];
}
extern "C" __global__ void product(int *d, const unsigned *x) {
  int d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3];
  for (int i = 0; i < 2; i++) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+r"(d0), "+r"(d1), "+r"(d2), "+r"(d3)
                 : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(x[4]), "r"(x[5]));
  }
  d[0] = d0 + d1 + d2 + d3;
}
)";

const CubinKernel &kernel_of(const Cubin &cubin, const std::string &name) {
  const auto found =
      std::find_if(cubin.kernels.begin(), cubin.kernels.end(), [&](const CubinKernel &k) { return k.name == name; });
  if (found == cubin.kernels.end()) {
    throw std::runtime_error("the cubin has no " + name);
  }
  return *found;
}

// What ptxas -v says of one kernel: the lines after its name.
std::string said_of(const std::string &name, const std::string &log) {
  const std::string_view mark = "Compiling entry function '";
  const std::size_t begin = log.find(std::string(mark) + name + "'");
  return begin == std::string::npos ? "" : log.substr(begin, log.find(mark, begin + 1) - begin);
}

TEST(CubinTest, AgreesWithPtxasOnEveryArchitecture) {
  const auto nvrtc = any_nvrtc();
  if (!nvrtc) {
    GTEST_SKIP() << "no NVRTC on this machine";
  }
  const Compiler compiler(nvrtc);
  for (const Arch &arch : supported_archs()) {
    if (!compiles_for(*nvrtc, arch)) {
      continue;
    }
    SCOPED_TRACE(arch.name());
    const CompiledKernel compiled = compiler.compile(source, arch, BinaryKind::cubin, "test");
    const Cubin cubin = inspect_cubin(compiled.binary);
    EXPECT_EQ(cubin.arch, 10 * arch.major + arch.minor);
    ASSERT_EQ(cubin.kernels.size(), 4U);
    for (const CubinKernel &kernel : cubin.kernels) {
      const std::string said = said_of(kernel.name, compiled.log);
      EXPECT_NE(said.find("Used " + std::to_string(kernel.registers) + " registers"), std::string::npos) << said;
      EXPECT_NE(said.find("used " + std::to_string(kernel.barriers) + " barriers"), std::string::npos) << said;
      EXPECT_EQ(kernel.static_shared_bytes, parse_ptxas_log(said).static_shared_memory) << kernel.name;
      EXPECT_GT(kernel.code_bytes, 0) << kernel.name;
      EXPECT_EQ(tensor_core_instructions(kernel.instructions), kernel.name == "product" ? 2 : 0) << kernel.name;
    }
    EXPECT_EQ(kernel_of(cubin, "parameters").parameter_bytes, 162); // 152, then a pointer and a short
    EXPECT_EQ(kernel_of(cubin, "shared").parameter_bytes, 12);
    EXPECT_EQ(kernel_of(cubin, "shared").static_shared_bytes, 400);
    EXPECT_EQ(kernel_of(cubin, "shared").local_bytes, 0);
    EXPECT_EQ(kernel_of(cubin, "local").local_bytes, 256);
  }
}

Elf64_Ehdr empty_elf() {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_machine = 190;
  header.e_shentsize = sizeof(Elf64_Shdr);
  return header;
}

std::string refusal(const std::vector<unsigned char> &bytes) {
  try {
    inspect_cubin(bytes);
  } catch (const Error &error) {
    return error.what();
  }
  return "accepted";
}

std::string refusal(const Elf64_Ehdr &header) {
  const auto *bytes = reinterpret_cast<const unsigned char *>(&header);
  return refusal(std::vector<unsigned char>(bytes, bytes + sizeof(header)));
}

TEST(CubinTest, WhatIsNoCubinIsRefusedInASentence) {
  EXPECT_EQ(refusal(std::vector<unsigned char>{}), "this is not a readable ELF file: it ends inside its header");
  EXPECT_EQ(refusal(std::vector<unsigned char>(1000, 'x')),
            "this is not a readable ELF file: it does not begin as one");
  Elf64_Ehdr header = empty_elf();
  header.e_ident[EI_CLASS] = ELFCLASS32;
  EXPECT_NE(refusal(header).find("not a 64-bit"), std::string::npos) << refusal(header);
  header = empty_elf();
  EXPECT_NE(refusal(header).find("no section names"), std::string::npos) << refusal(header);
  header.e_shoff = ~std::uint64_t{0};
  header.e_shnum = 3;
  EXPECT_NE(refusal(header).find("ends inside its section headers"), std::string::npos) << refusal(header);
}

TEST(CubinTest, AProgramOfAnotherMachineIsRefused) {
  // An ELF file with one section: its names, which are one zero.
  Elf64_Ehdr header = empty_elf();
  header.e_machine = EM_X86_64;
  header.e_shnum = 1;
  header.e_shoff = sizeof(header);
  Elf64_Shdr names{};
  names.sh_type = SHT_STRTAB;
  names.sh_offset = EI_PAD; // a zero within the header
  names.sh_size = 1;
  std::vector<unsigned char> bytes(sizeof(header) + sizeof(names));
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::memcpy(bytes.data() + sizeof(header), &names, sizeof(names));
  EXPECT_EQ(refusal(bytes), "this ELF file is for machine 62, not a cubin (190)");
}

TEST(CubinTest, ADamagedCubinIsRefusedOrReadButNeverReadsOutside) {
  const auto nvrtc = any_nvrtc();
  if (!nvrtc) {
    GTEST_SKIP() << "no NVRTC on this machine";
  }
  const Compiler compiler(nvrtc);
  const std::vector<unsigned char> whole = compiler.compile(source, Arch{9, 0}, BinaryKind::cubin, "test").binary;
  for (std::size_t size = 0; size < whole.size(); size += size < 512 ? 1 : 97) {
    EXPECT_NE(refusal(std::vector<unsigned char>(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))),
              "accepted")
        << "cut to " << size;
  }
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    std::vector<unsigned char> bytes = whole;
    for (int changes = 0; changes < 1 + round % 8; ++changes) {
      bytes[random() % bytes.size()] = static_cast<unsigned char>(random());
    }
    refusal(bytes); // anything but an Error ends the test
  }
}

} // namespace
} // namespace sale
