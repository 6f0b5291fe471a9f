// SPDX-License-Identifier: Apache-2.0
// The reader of cubins on any bytes.
#include "inspect/cubin.hpp"
#include "sale/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char *data, std::size_t size) {
  try {
    sale::inspect_cubin({data, size});
  } catch (const sale::Error &) {
    return 0;
  }
  return 0;
}
