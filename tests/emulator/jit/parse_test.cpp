// SPDX-License-Identifier: Apache-2.0
#include "emulator/ptx/parse.hpp"

#include "sale/error.hpp"

#include <gtest/gtest.h>

namespace sale::emulator::ptx {
namespace {

using Kind = Value::Kind;
using Shape = Argument::Shape;
using Parts = std::vector<std::string>;

Statement parse_one(const char *text) {
  const Assembly assembly = parse(text);
  EXPECT_EQ(assembly.statements.size(), 1U);
  return assembly.statements.at(0);
}

std::string message_of(const char *text) {
  try {
    parse(text);
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::compile);
    return error.what();
  }
  return "accepted";
}

TEST(Parse, OpcodeIsCutAtItsDots) {
  const Statement s =
      parse_one("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1];");
  EXPECT_EQ(s.parts, (Parts{"cp", "async", "bulk", "tensor", "2d", "shared::cluster", "global",
                            "mbarrier::complete_tx::bytes"}));
  EXPECT_EQ(parse_one("cp.async.cg.shared.global.L2::128B [$0], [$1], 16;").parts.back(), "L2::128B");
}

TEST(Parse, OperandsAreNumbered) {
  const Statement s = parse_one("add.u32 $0, $1, $12;");
  ASSERT_EQ(s.arguments.size(), 3U);
  EXPECT_EQ(s.arguments[2].values[0].kind, Kind::operand);
  EXPECT_EQ(s.arguments[2].values[0].index, 12);
  EXPECT_EQ(s.text, "add.u32 %0, %1, %12");
}

TEST(Parse, InstructionsNeedNoOperands) {
  EXPECT_TRUE(parse_one("cp.async.commit_group;").arguments.empty());
  EXPECT_TRUE(parse("  \n\t").statements.empty());
}

TEST(Parse, VectorsAndSinks) {
  const Statement s = parse_one("mma.x {$0, $1}, {$2}, _;");
  EXPECT_EQ(s.arguments[0].shape, Shape::vector);
  ASSERT_EQ(s.arguments[0].values.size(), 2U);
  EXPECT_EQ(s.arguments[0].values[1].index, 1);
  EXPECT_EQ(s.arguments[1].shape, Shape::vector);
  EXPECT_EQ(s.arguments[2].values[0].kind, Kind::sink);
}

TEST(Parse, NumbersInEveryBase) {
  const Statement s = parse_one("x $0, 31, 0xffffffff, 0X10, 0b101, 017, -5, 7U, 0;");
  const std::vector<u64> expected = {31, 0xffffffff, 16, 5, 15, 0 - u64{5}, 7, 0};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(s.arguments[i + 1].values[0].kind, Kind::integer);
    EXPECT_EQ(s.arguments[i + 1].values[0].bits, expected[i]) << i;
  }
}

TEST(Parse, FloatsAreBits) {
  const Statement s = parse_one("x 0f3F800000, -0f3F800000, 0d3FF0000000000000, 1.5, 2.5e-1;");
  EXPECT_EQ(s.arguments[0].values[0].kind, Kind::real);
  EXPECT_EQ(s.arguments[0].values[0].width, 32);
  EXPECT_EQ(s.arguments[0].values[0].bits, 0x3f800000U);
  EXPECT_EQ(s.arguments[1].values[0].bits, 0xbf800000U);
  EXPECT_EQ(s.arguments[2].values[0].bits, 0x3ff0000000000000U);
  EXPECT_EQ(s.arguments[3].values[0].bits, 0x3ff8000000000000U);
  EXPECT_EQ(s.arguments[4].values[0].bits, 0x3fd0000000000000U);
}

TEST(Parse, AddressesWithOffsetsAndCoordinates) {
  const Statement s = parse_one("x [$0], [$1+16], [$1 + -4], [$1-0x10], [$2, {$3, $4}], [$5, $6];");
  EXPECT_EQ(s.arguments[0].shape, Shape::address);
  EXPECT_EQ(s.arguments[1].offset, 16);
  EXPECT_EQ(s.arguments[2].offset, -4);
  EXPECT_EQ(s.arguments[3].offset, -16);
  ASSERT_EQ(s.arguments[4].values.size(), 3U);
  EXPECT_EQ(s.arguments[4].values[2].index, 4);
  EXPECT_EQ(s.arguments[5].values.size(), 2U);
}

TEST(Parse, SpecialRegisters) {
  const Statement s = parse_one("mov.u32 $0, %tid.x;");
  EXPECT_EQ(s.arguments[1].values[0].kind, Kind::special);
  EXPECT_EQ(s.arguments[1].values[0].name, "%tid.x");
}

TEST(Parse, RegistersAreDeclared) {
  const Assembly a = parse("{\n\t.reg .pred p, q;\n\t.reg .b16 h;\n\t.reg .u64 %rd<3>;\n\tx p|q, h, %rd2, !p, _;\n\t}");
  ASSERT_EQ(a.registers.size(), 6U);
  EXPECT_EQ(a.registers[1].width, 1);
  EXPECT_EQ(a.registers[2].width, 16);
  EXPECT_EQ(a.registers[5].name, "%rd2");
  EXPECT_EQ(a.registers[5].width, 64);
  const Statement &s = a.statements.at(0);
  EXPECT_EQ(s.arguments[0].shape, Shape::pair);
  EXPECT_EQ(s.arguments[0].values[1].index, 1);
  EXPECT_EQ(s.arguments[2].values[0].index, 5);
  EXPECT_TRUE(s.arguments[3].values[0].negated);
  EXPECT_EQ(s.arguments[4].values[0].kind, Kind::sink);
}

TEST(Parse, LabelsGuardsAndBranches) {
  const Assembly a = parse("{ .reg .pred p; WAIT${:uid}: x p; @!p bra WAIT${:uid}; @p y; L$$1: bra.uni L$$1; }");
  ASSERT_EQ(a.statements.size(), 6U);
  EXPECT_EQ(a.statements[0].label, "WAIT");
  ASSERT_TRUE(a.statements[2].guard.has_value());
  EXPECT_TRUE(a.statements[2].guard->negated);
  EXPECT_EQ(a.statements[2].arguments[0].values[0].name, "WAIT");
  EXPECT_FALSE(a.statements[3].guard->negated);
  EXPECT_EQ(a.statements[4].label, "L$1");
  EXPECT_EQ(a.statements[5].parts, (Parts{"bra", "uni"}));
}

TEST(Parse, CommentsAndBlanksAreSkipped) {
  const Assembly a = parse("// first\nadd.u32 $0,\t$1 /* one */ ,  1 ; ; // last");
  ASSERT_EQ(a.statements.size(), 1U);
  EXPECT_EQ(a.statements[0].text, "add.u32 %0, %1 , 1");
}

TEST(Parse, WhatIsWrongIsQuoted) {
  const std::pair<const char *, const char *> cases[] = {
      {"add.u32 $0, $1", "it ends where `;` should stand"},
      {"add.u32 $0 $1;", "`%1` where `;` should stand"},
      {"add.u32 $0, ;", "`;` where an operand should stand"},
      {"add.u32 $0,", "it ends where an operand should stand"},
      {"x {$0, $1;", "`;` where `}` should stand"},
      {"x [$0;", "`;` where `]` should stand"},
      {"x [$0+$1];", "`%1` is no offset"},
      {"{ x;", "a { is not closed"},
      {"x; }", "a } closes nothing"},
      {"x t;", "`t` is not declared"},
      {"@p x;", "`p` is not declared"},
      {"bra NOWHERE;", "`NOWHERE` is not declared"},
      {".reg .pred p; .reg .b32 p;", "`p` is declared twice"},
      {".reg .b7 p;", "`.b7` is no register type"},
      {".shared .b32 x;", "not .shared"},
      {"x -$0;", "only a number can be negative"},
      {"x 0xg1;", "`0xg1` is not a number"},
      {"x 12abc;", "`12abc` is not a number"},
      {"x 1.2.3;", "`1.2.3` is not a number"},
      {"x $0 # 1;", "`#` begins nothing"},
      {"x ${0:h};", "names no operand"},
      {"x /* y;", "a comment has no end"},
      {"$0;", "`%0` where an instruction should stand"},
  };
  for (const auto &[text, what] : cases) {
    const std::string message = message_of(text);
    EXPECT_NE(message.find(what), std::string::npos) << message;
    EXPECT_NE(message.find(text), std::string::npos) << message;
  }
}

} // namespace
} // namespace sale::emulator::ptx
