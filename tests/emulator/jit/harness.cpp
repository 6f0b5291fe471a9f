// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/jit/harness.hpp"

#include "emulator/machine/global_memory.hpp"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cmath>
#include <random>

namespace sale::emulator {

template <class T>
Buffer<T>::Buffer(std::size_t count) : data_(static_cast<T *>(allocate_global(count * sizeof(T)))) {}

template <class T>
Buffer<T>::~Buffer() {
  free_global(data_);
}

template class Buffer<u64>;
template class Buffer<u32>;
template class Buffer<float>;

std::string run(const std::string &source, const std::string &kernel, std::vector<void *> params, u32 threads,
                u32 blocks, u32 shared_bytes) {
  const std::shared_ptr<const Program> program = Program::compile(source);
  const KernelEntry entry = program->entry(kernel);
  if (entry == nullptr) {
    return "no such kernel";
  }
  Statistics statistics;
  const auto report = launch(entry, params.data(), {{blocks, 1, 1}, {threads, 1, 1}, shared_bytes}, {}, statistics);
  return report ? report->text : "";
}

float as_float(u64 bits) { return std::bit_cast<float>(static_cast<u32>(bits)); }
double as_double(u64 bits) { return std::bit_cast<double>(bits); }
u64 bits_of(float x) { return std::isnan(x) ? 0x7fffffffU : std::bit_cast<u32>(x); }

namespace {

struct Triple {
  u64 a, b, c;
};

constexpr std::array special = {
    // integers
    0U, 1U, 2U, 0xffffffffU, 0x80000000U, 0x7fffffffU, 0x80000001U, 7U, 16U, 31U, 32U, 33U, 64U, 300U, 0x12345678U,
    0x3210U, 0x89abcdefU,
    // floats: 1, -1, 0.5, 1.5, 2.5, -2.5, 1e10, 2^31, infinities, NaNs, subnormals, extremes, -0 (above)
    0x3f800000U, 0xbf800000U, 0x3f000000U, 0x3fc00000U, 0x40200000U, 0xc0200000U, 0x501502f9U, 0x4f000000U, 0xcf000000U,
    0x7f800000U, 0xff800000U, 0x7fc00000U, 0xffc12345U, 0x7f800001U, 0x007fffffU, 0x807fffffU, 0x00800000U, 0x7f7fffffU,
    0xff7fffffU, 0xc3020000U, 0x437f8000U,
    // pairs of 16-bit floats
    0x3c00bc00U, 0x7c00fc00U, 0x7e0103ffU, 0x7bff0001U, 0x80003555U, 0x3f80c2c8U, 0x7f807fc1U, 0x00017f7fU};

u64 random_value(std::mt19937_64 &random) {
  const u64 bits = random();
  switch (random() % 4) {
  case 0: return bits;
  case 1: return bits & 0xffU;
  case 2: return std::bit_cast<u32>(static_cast<float>(static_cast<s32>(bits)) / 65536.0F); // of moderate size
  default: return bits & 0xffffffff0fffffffU;
  }
}

const std::vector<Triple> &triples() {
  static const std::vector<Triple> all = [] {
    std::vector<Triple> made;
    std::mt19937_64 random(7);
    for (const u64 a : special) {
      for (const u64 b : special) {
        const u64 c = special[random() % special.size()];
        made.push_back({a | b << 32, b | a << 32, c | c << 32});
      }
    }
    for (const double x : {0.0, -0.0, 1.0, -1.5, 0.5, 1e300, 1e-320, HUGE_VAL, -1.0 / 3, 4294967295.5, 9.3e18, -2e19}) {
      made.push_back({std::bit_cast<u64>(x), std::bit_cast<u64>(1.0 / 3), std::bit_cast<u64>(x)});
    }
    while (made.size() % 256 != 0 || made.size() < 4096) {
      made.push_back({random_value(random), random_value(random), random_value(random)});
    }
    return made;
  }();
  return all;
}

const char *type_of(char constraint) {
  switch (constraint) {
  case 'h': return "unsigned short";
  case 'r': return "unsigned";
  case 'f': return "float";
  case 'd': return "double";
  default: return "unsigned long long";
  }
}

std::string kernel_of(const Operation &operation, std::size_t index) {
  std::string inputs;
  std::string bindings;
  for (std::size_t i = 1; i < operation.constraints.size(); ++i) {
    const char constraint = operation.constraints[i];
    inputs +=
        fmt::format("  {} v{} = *(const {} *)(in + 3 * i + {});\n", type_of(constraint), i, type_of(constraint), i - 1);
    bindings += fmt::format("{}\"{}\"(v{})", i == 1 ? "" : ", ", constraint, i);
  }
  std::string text;
  for (const char c : operation.text) {
    text += c == '\n' ? "\\n" : std::string(1, c);
  }
  return fmt::format("extern \"C\" __attribute__((global)) void k{index}(const unsigned long long *in, unsigned long "
                     "long *out) {{\n"
                     "  unsigned t, block;\n"
                     "  asm(\"mov.u32 %0, %%tid.x;\" : \"=r\"(t));\n"
                     "  asm(\"mov.u32 %0, %%ctaid.x;\" : \"=r\"(block));\n"
                     "  const unsigned i = block * 256 + t;\n{inputs}"
                     "  {type} r;\n"
                     "  asm(\"{text}\" : \"={constraint}\"(r) : {bindings});\n"
                     "  out[i] = 0;\n"
                     "  *({type} *)(out + i) = r;\n"
                     "}}\n",
                     fmt::arg("index", index), fmt::arg("inputs", inputs), fmt::arg("text", text),
                     fmt::arg("type", type_of(operation.constraints[0])),
                     fmt::arg("constraint", operation.constraints.substr(0, 1)), fmt::arg("bindings", bindings));
}

u64 cut(u64 bits, char constraint) {
  return constraint == 'h' ? bits & 0xffffU : constraint == 'r' || constraint == 'f' ? bits & 0xffffffffU : bits;
}

} // namespace

void check_operations(const std::vector<Operation> &operations) {
  std::string source;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    source += kernel_of(operations[i], i);
  }
  const std::shared_ptr<const Program> program = Program::compile(source);
  const std::vector<Triple> &values = triples();
  const Buffer<u64> in(3 * values.size());
  const Buffer<u64> out(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    in[3 * i] = values[i].a;
    in[3 * i + 1] = values[i].b;
    in[3 * i + 2] = values[i].c;
  }
  u64 *in_address = in.data();
  u64 *out_address = out.data();
  std::array<void *, 2> params = {&in_address, &out_address};
  for (std::size_t i = 0; i < operations.size(); ++i) {
    const Operation &operation = operations[i];
    Statistics statistics;
    const auto report = launch(program->entry(fmt::format("k{}", i)), params.data(),
                               {{static_cast<u32>(values.size() / 256), 1, 1}, {256, 1, 1}}, {}, statistics);
    ASSERT_FALSE(report) << report->text;
    const auto letter = [&](std::size_t k) {
      return operation.constraints[std::min(k, operation.constraints.size() - 1)];
    };
    int shown = 0;
    for (std::size_t k = 0; k < values.size() && shown < 3; ++k) {
      const u64 a = cut(values[k].a, letter(1));
      const u64 b = cut(values[k].b, letter(2));
      const u64 c = cut(values[k].c, letter(3));
      const u64 expected = cut(operation.expected(a, b, c), letter(0));
      if (out[k] != expected) {
        ++shown;
        ADD_FAILURE() << fmt::format("{}: of {:#x}, {:#x}, {:#x} it is {:#x}, but gives {:#x}", operation.text, a, b, c,
                                     expected, out[k]);
      }
    }
  }
}

} // namespace sale::emulator
