// SPDX-License-Identifier: Apache-2.0
// Whole kernels: parameters, memory, control flow inside asm statements, and what is refused.
#include "tests/emulator/jit/harness.hpp"

#include "sale/error.hpp"

#include <array>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <thread>

namespace sale::emulator {
namespace {

const std::string prelude = R"(
#define KERNEL extern "C" __attribute__((global)) void
#define DEVICE __attribute__((device)) inline
#line 1 "device/test.cuh"
DEVICE unsigned thread() { unsigned r; asm("mov.u32 %0, %%tid.x;" : "=r"(r)); return r; }
extern __attribute__((shared)) unsigned words[];
)";

std::string error_of(const std::string &source) {
  try {
    Program::compile(prelude + source);
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::compile);
    return error.what();
  }
  return "compiled";
}

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(Program, ParametersAreStructsAndScalars) {
  struct Args {
    u32 *out;
    float factor;
    short offset;
  };
  const Buffer<u32> out(32);
  Args args{out.data(), 2.5F, -3};
  unsigned char small = 200;
  std::int64_t large = -5;
  EXPECT_EQ(run(prelude + R"(
struct Args { unsigned *out; float factor; short offset; };
DEVICE void write(const Args &args, unsigned i, long long x) { args.out[i] = (unsigned)(int)(args.factor * i + args.offset + x); }
KERNEL k(const Args args, unsigned char small, long long large) { write(args, thread(), small + large); })",
                "k", {&args, &small, &large}),
            "");
  EXPECT_EQ(out[0], 192U);
  EXPECT_EQ(out[31], 269U); // 77.5 - 3 + 195, cut
}

TEST(Program, ParametersMayBeChangedByAThreadForItself) {
  const Buffer<u32> out(64);
  struct Args {
    u32 *out;
    u32 x[2];
  } args{out.data(), {5, 6}};
  EXPECT_EQ(run(prelude + R"(
struct Args { unsigned *out; unsigned x[2]; };
KERNEL k(Args args) { args.x[thread() & 1] += thread(); args.out[thread()] = args.x[0] + args.x[1]; })",
                "k", {&args}, 64),
            "");
  EXPECT_EQ(out[0], 11U);
  EXPECT_EQ(out[63], 74U);
  EXPECT_EQ(args.x[0], 5U);
}

TEST(Program, ParametersMayLieAnywhereOnTheHost) {
  const Buffer<u32> out(32);
  u32 *address = out.data();
  const std::array<u32, 4> values = {5, 6, 7, 8};
  struct alignas(64) {
    char before[4] = {};
    char four[sizeof values] = {};
  } odd;
  std::memcpy(odd.four, values.data(), sizeof values);
  EXPECT_EQ(run(prelude + R"(
typedef unsigned Four __attribute__((vector_size(16)));
KERNEL k(unsigned *out, Four four) { out[thread()] = four[thread() & 3]; })",
                "k", {&address, odd.four}),
            "");
  EXPECT_EQ(out[0], 5U);
  EXPECT_EQ(out[31], 8U);
}

TEST(Program, SpecialRegisters) {
  const Buffer<u32> out(2 * 64 * 8);
  u32 *address = out.data();
  EXPECT_EQ(run(prelude + R"(
KERNEL k(unsigned *out) {
  unsigned r[8];
  asm("mov.u32 %0, %%tid.x;" : "=r"(r[0]));
  asm("mov.u32 %0, %%ctaid.x;" : "=r"(r[1]));
  asm("mov.u32 %0, %%ntid.x;" : "=r"(r[2]));
  asm("mov.u32 %0, %%nctaid.x;" : "=r"(r[3]));
  asm("mov.u32 %0, %%laneid;" : "=r"(r[4]));
  asm("mov.u32 %0, %%warpid;" : "=r"(r[5]));
  asm("mov.u32 %0, %%lanemask_lt;" : "=r"(r[6]));
  asm("mov.u32 %0, %%tid.y;" : "=r"(r[7]));
  for (int i = 0; i < 8; ++i) { out[(r[1] * 64 + r[0]) * 8 + i] = r[i]; }
})",
                "k", {&address}, 64, 2),
            "");
  const u32 *last = &out[(64 + 37) * 8];
  EXPECT_EQ(std::vector<u32>(last, last + 8), (std::vector<u32>{37, 1, 64, 2, 5, 1, 31, 0}));
}

TEST(Program, LoopsAndGuardsInsideAnAsmStatement) {
  const Buffer<u32> out(64);
  u32 *address = out.data();
  EXPECT_EQ(run(prelude + R"(
KERNEL k(unsigned *out) {
  unsigned a = 36, b = thread() + 1, steps = 0;
  asm volatile("{\n\t.reg .pred p;\n\t.reg .u32 t;\n\tNEXT%=:\n\tsetp.eq.u32 p, %1, 0;\n\t@p bra DONE%=;\n\t"
               "rem.u32 t, %0, %1;\n\tmov.u32 %0, %1;\n\tmov.u32 %1, t;\n\tadd.u32 %2, %2, 1;\n\tbra.uni NEXT%=;\n\tDONE%=:\n\t"
               "@!p mov.u32 %0, 0;\n\t@p add.u32 %0, %0, 100;\n\t}"
               : "+r"(a), "+r"(b), "+r"(steps));
  out[thread()] = a;
})",
                "k", {&address}, 64),
            "");
  for (u32 i = 0; i < 64; ++i) {
    EXPECT_EQ(out[i], 100 + std::gcd(36U, i + 1)) << i;
  }
}

TEST(Program, HandlersReadAndWriteTheirOperands) {
  const Buffer<u32> out(64);
  u32 *address = out.data();
  EXPECT_EQ(run(prelude + R"(
KERNEL k(unsigned *out) {
  unsigned lane = thread() & 31, above, valid;
  asm volatile("{\n\t.reg .pred p;\n\tshfl.sync.down.b32 %0|p, %2, 4, 31, 0xffffffff;\n\tselp.u32 %1, 1, 0, p;\n\t}"
               : "=r"(above), "=r"(valid) : "r"(lane * 3));
  asm volatile("{ .reg .pred p; setp.lt.u32 p, %1, 5; @p st.global.b32 [%0+4], %2; }" :: "l"(out + thread() - 1), "r"(lane), "r"(above) : "memory");
  if (lane >= 5) { out[thread()] = valid; }
})",
                "k", {&address}, 64),
            "");
  EXPECT_EQ(out[36], 24U);
  EXPECT_EQ(out[37], 1U);
  EXPECT_EQ(out[59], 1U);
  EXPECT_EQ(out[60], 0U);
}

TEST(Program, ARegisterThatIsReadAndWrittenKeepsTheResult) {
  const Buffer<u32> out(32);
  u32 *address = out.data();
  EXPECT_EQ(run(prelude + R"(
KERNEL k(unsigned *out) {
  unsigned x = thread() * 10;
  asm volatile("shfl.sync.idx.b32 %0, %0, %1, 31, 0xffffffff;" : "+r"(x) : "r"(7));
  float d[4] = {1, 2, 3, 4};
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %4, %4, %4}, {%4, %4}, "
               "{%0, %1, %2, %3};" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(0x3f803f80));
  out[thread()] = x + (unsigned)d[3];
})",
                "k", {&address}),
            "");
  EXPECT_EQ(out[3], 90U);
}

TEST(Program, RegistersThatAnAsmStatementDoesNotWriteArePoisoned) {
  const Buffer<u32> out(64);
  u32 *address = out.data();
  EXPECT_EQ(run(prelude + R"(
KERNEL k(unsigned *out) {
  unsigned given, local;
  asm volatile("{\n\t.reg .pred p;\n\t.reg .b32 t;\n\tsetp.lt.u32 p, %2, 8;\n\t@p mov.u32 %0, %2;\n\t@p mov.b32 t, %2;\n\t"
               "mov.b32 %1, t;\n\t}" : "=r"(given), "=r"(local) : "r"(thread()));
  out[2 * thread()] = given;
  out[2 * thread() + 1] = local;
})",
                "k", {&address}),
            "");
  for (u32 i = 0; i < 64; ++i) {
    EXPECT_EQ(out[i], i / 2 < 8 ? i / 2 : 0xffffffffU) << i;
  }
}

TEST(Program, LocalArraysAndTablesNeedNoBounds) {
  const Buffer<u32> out(32);
  u32 *address = out.data();
  EXPECT_EQ(run(prelude + R"(
DEVICE unsigned sum(const unsigned *p, unsigned n) { unsigned s = 0; for (unsigned i = 0; i < n; ++i) { s += p[i]; } return s; }
KERNEL k(unsigned *out) {
  static constexpr unsigned table[4] = {10, 20, 40, 80};
  unsigned local[32];
  for (unsigned i = 0; i < 32; ++i) { local[i] = i; }
  const unsigned *which = thread() & 1 ? local : table;
  out[thread()] = sum(which, 4) + table[thread() & 3];
})",
                "k", {&address}),
            "");
  EXPECT_EQ(out[0], 160U);
  EXPECT_EQ(out[3], 86U);
}

TEST(Program, DynamicSharedMemoryByPlainAccesses) {
  const Buffer<u32> out(32);
  u32 *address = out.data();
  const std::string source = prelude + R"(
KERNEL k(unsigned *out, int shift) {
  words[thread() + shift] = thread();
  asm volatile("bar.sync 0;" ::: "memory");
  out[thread()] = words[31 - thread()];
})";
  int shift = 0;
  EXPECT_EQ(run(source, "k", {&address, &shift}, 32, 1, 128), "");
  EXPECT_EQ(out[3], 28U);
  shift = 1;
  const std::string report = run(source, "k", {&address, &shift}, 32, 1, 128);
  EXPECT_HAS(report, "device/test.cuh:5");
  EXPECT_HAS(report, "hared memory");
}

TEST(Program, SharedAddressesAreThoseOfTheWindow) {
  const Buffer<u32> out(32);
  u32 *address = out.data();
  EXPECT_EQ(run(prelude + R"(
KERNEL k(unsigned *out) {
  unsigned a, v;
  asm("{ .reg .u64 t; cvta.to.shared.u64 t, %1; cvt.u32.u64 %0, t; }" : "=r"(a) : "l"(words + thread()));
  asm volatile("st.shared.b32 [%0], %1;" :: "r"(a), "r"(thread() * 7) : "memory");
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(v) : "r"(a) : "memory");
  unsigned long long generic;
  asm("{ .reg .u64 t; cvt.u64.u32 t, %1; cvta.shared.u64 %0, t; }" : "=l"(generic) : "r"(a));
  out[thread()] = v + *(unsigned *)generic;
})",
                "k", {&address}, 32, 1, 128),
            "");
  EXPECT_EQ(out[9], 126U);
}

TEST(Program, PlainAccessesOutOfBoundsAreReportedWithTheirLine) {
  const Buffer<u32> out(32);
  u32 *address = out.data();
  EXPECT_HAS(run(prelude + "KERNEL k(unsigned *out) {\n  out[thread() + 1] = 3;\n}", "k", {&address}),
             "store at device/test.cuh:4 in k");
  EXPECT_HAS(run(prelude + "DEVICE unsigned get(unsigned *p) { return *p; }\n"
                           "KERNEL k(unsigned *out) { out[0] = get(out - 1); }",
                 "k", {&address}),
             "load at device/test.cuh:3 in get, from device/test.cuh:4 in k");
  EXPECT_HAS(
      run(prelude + "struct Four { unsigned x[4]; };\nKERNEL k(Four *out) { out[8] = out[7]; }", "k", {&address}),
      "device/test.cuh:4 in k");
  u32 *null = nullptr;
  EXPECT_HAS(run(prelude + "KERNEL k(unsigned *out) { *out = 3; }", "k", {&null}), "device/test.cuh:3 in k");
  u32 *odd = reinterpret_cast<u32 *>(reinterpret_cast<char *>(address) + 2);
  EXPECT_HAS(run(prelude + "KERNEL k(unsigned *out) { *out = 3; }", "k", {&odd}), "device/test.cuh:3 in k");
}

TEST(Program, UnknownInstructionsAreNamedWithTheirLine) {
  const std::string message =
      error_of("DEVICE void f() {\n  asm volatile(\"frobnicate.sync.b32 %0, 7;\" :: \"r\"(1));\n}\n"
               "KERNEL k() { f(); }");
  EXPECT_HAS(message, "does not know `frobnicate.sync.b32 %0, 7`");
  EXPECT_HAS(message, "device/test.cuh:4 in f, from device/test.cuh:6 in k");
}

TEST(Program, VariantsOfArithmeticThatAreNotEmulatedAreRefused) {
  for (const char *text : {"add.rz.f32 %0, %1, %1;", "max.xorsign.abs.f32 %0, %1, %1;", "cvt.rp.f32.f64 %0, %1;",
                           "set.lt.f32.f32 %0, %1, %1;"}) {
    EXPECT_HAS(
        error_of(std::string("KERNEL k(float *x) { float r; asm(\"") + text + "\" : \"=f\"(r) : \"f\"(*x)); *x = r; }"),
        "does not know `");
  }
}

TEST(Program, TextThatIsNoPtxIsRefusedWithItsLine) {
  const std::string message = error_of("KERNEL k() {\n  asm volatile(\"add.u32 %0 %0;\" :: \"r\"(1));\n}");
  EXPECT_HAS(message, "`%0` where `;` should stand");
  EXPECT_HAS(message, "device/test.cuh:4 in k");
  EXPECT_HAS(
      error_of("KERNEL k() { asm volatile(\"mov.u32 %0, 1;\" :: \"n\"(1), \"r\"(2)); asm volatile(\"bra 3;\"); }"),
      "does not understand `bra 3`");
  EXPECT_HAS(error_of("KERNEL k() { unsigned r; asm volatile(\"mov.u32 %0, %%nosuch;\" : \"=r\"(r)); }"), "%nosuch");
}

TEST(Program, WhatTheEmulatorLacksIsNamed) {
  EXPECT_HAS(error_of("KERNEL k() { __attribute__((shared)) static int x[4]; x[0] = 1; }"), "static shared memory");
  EXPECT_HAS(
      error_of("extern \"C\" __attribute__((device)) int elsewhere(int);\nKERNEL k(int *x) { *x = elsewhere(1); }"),
      "function `elsewhere`");
  EXPECT_HAS(error_of("KERNEL k(int *x) { *x = __nvvm_read_ptx_sreg_tid_x(); }"), "llvm.nvvm.read.ptx.sreg.tid.x");
}

TEST(Program, ClangsMessagesArePassedOn) {
  try {
    Program::compile(prelude + "KERNEL k(int *x) { *x = 1 }\nint y = z;");
    FAIL();
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::compile);
    EXPECT_HAS(std::string(error.what()), "device/test.cuh:3");
    EXPECT_HAS(error.details().log, "expected ';'");
    EXPECT_HAS(error.details().log, "undeclared identifier 'z'");
  }
}

TEST(Program, AMissingClangSaysWhatToInstall) {
  setenv("SALE_CLANG", "/nowhere/clang", 1);
  try {
    Program::compile(prelude);
    ADD_FAILURE();
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_found);
    EXPECT_HAS(std::string(error.what()), "/nowhere/clang");
    EXPECT_HAS(std::string(error.what()), "install the package clang-19");
  }
  unsetenv("SALE_CLANG");
}

TEST(Program, EntriesAreKernelsOnly) {
  const auto program = Program::compile(prelude + "DEVICE void f() {}\nKERNEL a() { f(); }\nKERNEL b() {}");
  EXPECT_NE(program->entry("a"), nullptr);
  EXPECT_NE(program->entry("b"), nullptr);
  EXPECT_EQ(program->entry("f"), nullptr);
}

TEST(Program, SeveralThreadsCompileAtOnce) {
  std::vector<std::thread> threads;
  std::vector<int> compiled(4);
  for (std::size_t i = 0; i < compiled.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 3; ++k) {
        compiled[i] += Program::compile(prelude + "KERNEL k(unsigned *x) { *x = thread(); }")->entry("k") != nullptr;
      }
    });
  }
  for (std::thread &thread : threads) {
    thread.join();
  }
  EXPECT_EQ(compiled, (std::vector<int>{3, 3, 3, 3}));
}

} // namespace
} // namespace sale::emulator
