// SPDX-License-Identifier: Apache-2.0
#include "runtime/stage_kernels.hpp"

#include <algorithm>

namespace sale {

void StageKernels::choose_by(const std::vector<TileChoice> &choices) {
  choices_.clear();
  for (const TileChoice &choice : choices) {
    const auto found = std::find_if(kernels_.begin(), kernels_.end(),
                                    [&](const Kernel &kernel) { return kernel.spec.tile == choice.tile; });
    if (found != kernels_.end()) {
      choices_.push_back({choice, static_cast<std::size_t>(found - kernels_.begin())});
    }
  }
}

const Kernel &StageKernels::at(int kv_len, float density) const {
  for (const Choice &choice : choices_) {
    if (choice.when.serves(kv_len, density)) {
      return kernels_[choice.kernel];
    }
  }
  return kernels_.front();
}

} // namespace sale
