// SPDX-License-Identifier: Apache-2.0
#include "runtime/ptxas_log.hpp"

#include <gtest/gtest.h>

namespace sale {
namespace {

TEST(PtxasLog, GivesRegistersSpillsAndStaticSharedMemory) {
  const KernelResources resources = parse_ptxas_log(
      "ptxas info    : 0 bytes gmem\n"
      "ptxas info    : Compiling entry function 'k' for 'sm_90'\n"
      "ptxas info    : Function properties for k\n"
      "ptxas         .     256 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads\n"
      "ptxas info    : Used 40 registers, used 1 barriers, 256 bytes cumulative stack size, 400 bytes smem\n");
  EXPECT_EQ(resources.registers, 40);
  EXPECT_EQ(resources.spill_bytes, 32);
  EXPECT_EQ(resources.static_shared_memory, 400);
}

TEST(PtxasLog, GivesZeroForWhatIsNotThere) {
  EXPECT_EQ(parse_ptxas_log("ptxas info    : Used 7 registers, 380 bytes cmem[0]").static_shared_memory, 0);
  EXPECT_EQ(parse_ptxas_log("").registers, 0);
  EXPECT_EQ(parse_ptxas_log(" registers").registers, 0);
}

} // namespace
} // namespace sale
