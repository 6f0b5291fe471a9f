// SPDX-License-Identifier: Apache-2.0
#include "autotune/model/gpu_parameters.hpp"

namespace sale::autotune {

// From the data sheets of A100, A40, L40, H100, B200 (B300 multiplies 16 bits alike) and RTX 5090: dense 16-bit
// products with fp32 sums over multiprocessors and boost clock; half of what L2 and the multiprocessors are wired for.
GpuParameters assumed_parameters(const Arch &arch, int multiprocessors) {
  GpuParameters parameters;
  switch (10 * arch.major + arch.minor) {
  case 80: parameters = {108, 1.41, 2048, 24, false}; break;
  case 86: parameters = {84, 1.74, 1024, 16, false}; break;
  case 89: parameters = {142, 2.49, 512, 16, false}; break;
  case 90: parameters = {132, 1.6, 4096, 24, false}; break;
  case 100:
  case 103: parameters = {148, 1.8, 8192, 24, false}; break;
  default: parameters = {170, 2.4, 512, 16, false}; break;
  }
  parameters.multiprocessors = multiprocessors > 0 ? multiprocessors : parameters.multiprocessors;
  return parameters;
}

} // namespace sale::autotune
