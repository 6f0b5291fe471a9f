// SPDX-License-Identifier: Apache-2.0
#include "generator/wgmma_source.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

namespace sale {

namespace {

struct Names {
  const char *type; ///< In templates/device/.
  const char *ptx;
};

Names names_of(WgmmaOperand operand) {
  switch (operand) {
  case WgmmaOperand::bf16: return {"Bf16", "bf16"};
  case WgmmaOperand::f16: return {"F16", "f16"};
  case WgmmaOperand::e4m3: return {"E4m3", "e4m3"};
  case WgmmaOperand::s8: return {"Signed8", "s8"};
  }
  return {};
}

Names names_of(WgmmaResult result) {
  switch (result) {
  case WgmmaResult::f32: return {"f32", "f32"};
  case WgmmaResult::f16: return {"F16", "f16"};
  case WgmmaResult::s32: return {"s32", "s32"};
  }
  return {};
}

bool is_16_bit(WgmmaOperand operand) { return operand == WgmmaOperand::bf16 || operand == WgmmaOperand::f16; }

// PTX ISA, tables of "wgmma.mma_async": matrix shapes, types and major-ness.
void validate(const WgmmaShape &shape) {
  const auto refuse = [&](const char *rule) {
    throw Error(ErrorKind::generate, fmt::format("no wgmma is {}: {}", shape.type_name(), rule));
  };
  const bool integer = shape.operand == WgmmaOperand::s8;
  if (shape.n < 8 || shape.n > 256 || shape.n % 8 != 0) {
    refuse("n is a multiple of 8 from 8 to 256");
  }
  if (integer && shape.n > 24 && shape.n % 16 != 0) {
    refuse("n is 8, 16, 24 or a multiple of 16 for integers");
  }
  if (integer != (shape.result == WgmmaResult::s32)) {
    refuse("s8 and s32 go together");
  }
  if (shape.operand == WgmmaOperand::bf16 && shape.result != WgmmaResult::f32) {
    refuse("bf16 accumulates in f32");
  }
  if (shape.b_mn_major && !is_16_bit(shape.operand)) {
    refuse("only 16-bit types may be MN-major");
  }
}

// "%4, %5, %6": count operands from first on.
std::string numbers(int first, int count) {
  std::vector<std::string> text;
  text.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    text.push_back(fmt::format("%{}", first + i));
  }
  return fmt::format("{}", fmt::join(text, ", "));
}

// "\"r\"(a[0]), \"r\"(a[1])".
std::string bindings(const char *constraint, const char *array, int count) {
  std::vector<std::string> text;
  text.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    text.push_back(fmt::format("\"{}\"({}[{}])", constraint, array, i));
  }
  return fmt::format("{}", fmt::join(text, ", "));
}

} // namespace

int WgmmaShape::k() const { return (is_16_bit(operand) ? 16 : 32) * (sparse ? 2 : 1); }

std::string WgmmaShape::type_name() const {
  return fmt::format(
      "Wgmma<{operand}, {result}, {n}, WgmmaSource::{source}, WgmmaMajor::{major}, WgmmaDensity::{density}>",
      fmt::arg("operand", names_of(operand).type), fmt::arg("result", names_of(result).type), fmt::arg("n", n),
      fmt::arg("source", a_in_registers ? "registers" : "shared"), fmt::arg("major", b_mn_major ? "mn" : "k"),
      fmt::arg("density", sparse ? "sparse" : "dense"));
}

std::string wgmma_source(const WgmmaShape &shape) {
  validate(shape);
  const bool packed = shape.result == WgmmaResult::f16;
  const int results = packed ? shape.n / 4 : shape.n / 2;
  // Operands in order: D, A, B, metadata, accumulate.
  const int a = results;
  const int b = a + (shape.a_in_registers ? 4 : 1);
  const int accumulate = b + (shape.sparse ? 2 : 1);

  // Scale, transposition: 1 is as it is for signs, 0 is K-major.
  std::string immediates;
  if (shape.operand != WgmmaOperand::s8) {
    immediates = ", 1, 1";
  }
  if (is_16_bit(shape.operand)) {
    immediates += shape.a_in_registers ? "" : ", 0";
    immediates += shape.b_mn_major ? ", 1" : ", 0";
  }

  return fmt::format(
      R"(template <>
struct {name} {{
  static SALE_DEVICE void run({result} (&d)[{results}], {a_parameter}, u64 b_descriptor, {metadata_parameter}bool accumulate) {{
    asm volatile("{{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %{accumulate}, 0;\n\t"
                 "wgmma.mma_async{sp}.sync.aligned.m64n{n}k{k}.{result_ptx}.{type}.{type} {{{d_numbers}}}, {a_numbers}, %{b}{metadata_number}, p{immediates};\n\t}}"
                 : {d_bindings}
                 : {a_bindings}, "l"(b_descriptor), {metadata_binding}"r"(static_cast<u32>(accumulate)));
  }}
}};
)",
      fmt::arg("name", shape.type_name()), fmt::arg("result", packed ? "u32" : names_of(shape.result).type),
      fmt::arg("results", results),
      fmt::arg("a_parameter", shape.a_in_registers ? "const u32 (&a)[4]" : "u64 a_descriptor"),
      fmt::arg("metadata_parameter", shape.sparse ? "u32 metadata, " : ""), fmt::arg("accumulate", accumulate),
      fmt::arg("sp", shape.sparse ? ".sp" : ""), fmt::arg("n", shape.n), fmt::arg("k", shape.k()),
      fmt::arg("result_ptx", names_of(shape.result).ptx), fmt::arg("type", names_of(shape.operand).ptx),
      fmt::arg("d_numbers", numbers(0, results)),
      fmt::arg("a_numbers", shape.a_in_registers ? fmt::format("{{{}}}", numbers(a, 4)) : numbers(a, 1)),
      fmt::arg("b", b), fmt::arg("metadata_number", shape.sparse ? fmt::format(", %{}, 0", b + 1) : ""),
      fmt::arg("immediates", immediates),
      fmt::arg("d_bindings", bindings(shape.result == WgmmaResult::f32 ? "+f" : "+r", "d", results)),
      fmt::arg("a_bindings", shape.a_in_registers ? bindings("r", "a", 4) : "\"l\"(a_descriptor)"),
      fmt::arg("metadata_binding", shape.sparse ? "\"r\"(metadata), " : ""));
}

} // namespace sale
