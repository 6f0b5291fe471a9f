// SPDX-License-Identifier: Apache-2.0
// cuTensorMapEncodeTiled. libsale itself does not call it yet, so it is not in runtime/driver_api.hpp.
#include "emulator/instructions/tensor_map.hpp"
#include "emulator/driver/failure.hpp"

#include <algorithm>

using namespace sale;
using namespace sale::emulator;

extern "C" __attribute__((visibility("default"))) cu::Result
cuTensorMapEncodeTiled(void *map, int type, u32 rank, void *address, const u64 *dimensions, const u64 *strides,
                       const u32 *box, const u32 *element_strides, int interleave, int swizzle, int l2_promotion,
                       int fill);

cu::Result cuTensorMapEncodeTiled(void *map, int type, u32 rank, void *address, const u64 *dimensions,
                                  const u64 *strides, const u32 *box, const u32 *element_strides, int interleave,
                                  int swizzle, int l2_promotion, int fill) {
  return guarded([&] {
    TensorMap arguments;
    if (map == nullptr || dimensions == nullptr || box == nullptr || element_strides == nullptr || rank == 0 ||
        rank > TensorMap::max_rank || (strides == nullptr && rank > 1)) {
      throw Failure{invalid_value, "cuTensorMapEncodeTiled needs a map, 1 to 5 dimensions, and their sizes"};
    }
    arguments.type = static_cast<u32>(type);
    arguments.rank = rank;
    arguments.address = reinterpret_cast<u64>(address);
    std::copy_n(dimensions, rank, arguments.dimensions.begin());
    std::copy_n(strides, rank - 1, arguments.strides.begin());
    std::copy_n(box, rank, arguments.box.begin());
    std::copy_n(element_strides, rank, arguments.element_strides.begin());
    arguments.interleave = static_cast<u32>(interleave);
    arguments.swizzle = static_cast<u32>(swizzle);
    arguments.l2_promotion = static_cast<u32>(l2_promotion);
    arguments.fill = static_cast<u32>(fill);
    if (const std::string problem = encode_tensor_map(arguments, map); !problem.empty()) {
      throw Failure{invalid_value, problem};
    }
  });
}
