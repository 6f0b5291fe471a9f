// SPDX-License-Identifier: Apache-2.0
#include "inspect/instruction_census.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <vector>

namespace sale {
namespace {

// Machine code of the given first halves of instructions; the second halves don't say which instruction it is.
std::vector<unsigned char> code_of(std::initializer_list<std::uint64_t> first_halves) {
  std::vector<unsigned char> code;
  for (const std::uint64_t half : first_halves) {
    unsigned char bytes[16] = {};
    std::memcpy(bytes, &half, sizeof(half));
    code.insert(code.end(), bytes, bytes + 16);
  }
  return code;
}

TEST(InstructionCensusTest, CountsEveryKindOfTensorCoreInstruction) {
  // As nvdisasm shows them for sm_80, sm_89 and sm_90a.
  EXPECT_EQ(tensor_core_instructions(count_instructions(code_of({0x000000060c08723c}))), 1) << "HMMA.16816.F32.BF16";
  EXPECT_EQ(tensor_core_instructions(count_instructions(code_of({0x000000060c087237}))), 1) << "IMMA.16832.S8.S8";
  EXPECT_EQ(tensor_core_instructions(count_instructions(code_of({0x000000060c08727a}))), 1) << "QMMA.16832.F32.E4M3";
  EXPECT_EQ(tensor_core_instructions(count_instructions(code_of({0x00000000081879f0}))), 1) << "HGMMA, A in shared";
  EXPECT_EQ(tensor_core_instructions(count_instructions(code_of({0x000000041c187df0}))), 1) << "HGMMA, A in registers";
  EXPECT_EQ(tensor_core_instructions(count_instructions(code_of({0x00000000081879f1}))), 1) << "IGMMA.64x8x32.S8.S8";
  EXPECT_EQ(tensor_core_instructions(count_instructions(code_of({0x04001c00081879f3}))), 1) << "QGMMA.SP.64x8x64";
}

TEST(InstructionCensusTest, OtherInstructionsAreNoTensorCoreInstructions) {
  // NOP, EXIT, FFMA, LDSM.
  const auto census =
      count_instructions(code_of({0x0000000000007918, 0x000000000000794d, 0x0000000402007223, 0x000000000408783b}));
  EXPECT_EQ(tensor_core_instructions(census), 0);
  EXPECT_EQ(census.size(), 4U);
}

TEST(InstructionCensusTest, APartOfAnInstructionAtTheEndIsNotCounted) {
  std::vector<unsigned char> code = code_of({0x723c, 0x723c});
  code.pop_back();
  EXPECT_EQ(tensor_core_instructions(count_instructions(code)), 1);
  EXPECT_TRUE(count_instructions({}).empty());
}

} // namespace
} // namespace sale
