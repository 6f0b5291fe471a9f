// SPDX-License-Identifier: Apache-2.0
// Resource use as ptxas -v reports it in NVRTC's log.
#pragma once

#include <string_view>

namespace sale {

struct KernelResources {
  int registers = 0;   ///< Per thread; 0 = the log does not say.
  int spill_bytes = 0; ///< Stores plus loads per thread.
  int static_shared_memory = 0;
};

KernelResources parse_ptxas_log(std::string_view log);

} // namespace sale
