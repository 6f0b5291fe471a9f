// SPDX-License-Identifier: Apache-2.0
// What the kernels of a cubin cost, from its ELF sections: needs no GPU, no driver and no CUDA toolkit.
#pragma once

#include "inspect/instruction_census.hpp"

#include <span>
#include <string>
#include <vector>

namespace sale {

struct CubinKernel {
  std::string name;
  int registers = 0;           ///< Per thread.
  int local_bytes = 0;         ///< Local memory per thread: arrays and spills, of the kernel and what it calls.
  int max_stack_bytes = 0;     ///< With calls; 0 = the cubin does not say.
  int parameter_bytes = 0;     ///< Of all arguments.
  int static_shared_bytes = 0; ///< Without what the system reserves.
  int barriers = 0;            ///< Named barriers, 0 included.
  int code_bytes = 0;
  InstructionCensus instructions;
};

struct Cubin {
  int arch = 0; ///< 90 for sm_90 and sm_90a.
  std::vector<CubinKernel> kernels;
};

/// Throws Error(load) when the bytes are not a cubin or a broken one.
Cubin inspect_cubin(std::span<const unsigned char> bytes);

} // namespace sale
