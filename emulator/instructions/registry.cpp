// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/registry.hpp"

#include "emulator/instructions/atomics.hpp"
#include "emulator/instructions/barrier.hpp"
#include "emulator/instructions/bulk_copy.hpp"
#include "emulator/instructions/collectives.hpp"
#include "emulator/instructions/control.hpp"
#include "emulator/instructions/copy_async.hpp"
#include "emulator/instructions/fences.hpp"
#include "emulator/instructions/matrix_load.hpp"
#include "emulator/instructions/mbarrier.hpp"
#include "emulator/instructions/memory.hpp"
#include "emulator/instructions/mma_sync.hpp"
#include "emulator/instructions/proxy_fence.hpp"
#include "emulator/instructions/tensor_copy.hpp"
#include "emulator/instructions/wgmma.hpp"

namespace sale::emulator {

Handler find_handler(const Instruction &instruction) {
  for (const auto find :
       {find_mbarrier, find_bulk_copy, find_tensor_copy, find_wgmma, find_proxy_fence, find_memory, find_atomics,
        find_copy_async, find_matrix_load, find_mma_sync, find_collectives, find_barrier, find_fences, find_control}) {
    if (const Handler handler = find(instruction)) {
      return handler;
    }
  }
  return nullptr;
}

} // namespace sale::emulator
