// SPDX-License-Identifier: Apache-2.0
#include "calibrate/constant_kbar.hpp"

#include "reference/means.hpp"

namespace sale {

std::vector<float> constant_kbar(const std::vector<reference::Tensors> &samples) {
  const auto size =
      static_cast<std::size_t>(samples.front().num_kv_heads) * static_cast<std::size_t>(samples.front().head_dim);
  std::vector<double> sums(size);
  std::size_t values = 0;
  for (const reference::Tensors &sample : samples) {
    const std::vector<float> means = reference::mean_keys(sample);
    for (std::size_t i = 0; i < means.size(); ++i) {
      sums[i % size] += means[i];
    }
    values += means.size();
  }
  std::vector<float> kbar(size);
  for (std::size_t i = 0; i < size; ++i) {
    kbar[i] = static_cast<float>(sums[i] * static_cast<double>(size) / static_cast<double>(values));
  }
  return kbar;
}

} // namespace sale
