// SPDX-License-Identifier: Apache-2.0
// cuTensorMapEncodeTiled, declared with the other functions in cuda_driver.cpp.
#include "emulator/instructions/tensor_map.hpp"
#include "emulator/driver/failure.hpp"

#include <algorithm>

using namespace sale;
using namespace sale::emulator;

extern "C" __attribute__((visibility("default"))) cu::Result
cuTensorMapEncodeTiled(void *map, cu::TensorMapType type, unsigned rank, void *address, const std::uint64_t *dimensions,
                       const std::uint64_t *strides, const std::uint32_t *box, const std::uint32_t *element_strides,
                       cu::TensorMapInterleave interleave, cu::TensorMapSwizzle swizzle,
                       cu::TensorMapPromotion promotion, cu::TensorMapFill fill);

cu::Result cuTensorMapEncodeTiled(void *map, cu::TensorMapType type, unsigned rank, void *address,
                                  const std::uint64_t *dimensions, const std::uint64_t *strides,
                                  const std::uint32_t *box, const std::uint32_t *element_strides,
                                  cu::TensorMapInterleave interleave, cu::TensorMapSwizzle swizzle,
                                  cu::TensorMapPromotion promotion, cu::TensorMapFill fill) {
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
    arguments.l2_promotion = static_cast<u32>(promotion);
    arguments.fill = static_cast<u32>(fill);
    if (const std::string problem = encode_tensor_map(arguments, map); !problem.empty()) {
      throw Failure{invalid_value, problem};
    }
  });
}
