// SPDX-License-Identifier: Apache-2.0
#include "reference/means.hpp"

#include "core/parallel_for.hpp"

namespace sale::reference {

namespace {

std::vector<float> mean_rows(const std::vector<float> &rows, int heads, int length, int head_dim) {
  std::vector<float> means(static_cast<std::size_t>(heads) * head_dim);
  parallel_for(heads, [&](std::int64_t head) {
    const float *row = rows.data() + head * length * head_dim;
    std::vector<double> sums(head_dim);
    for (int i = 0; i < length; ++i, row += head_dim) {
      for (int d = 0; d < head_dim; ++d) {
        sums[d] += row[d];
      }
    }
    for (int d = 0; d < head_dim; ++d) {
      means[head * head_dim + d] = static_cast<float>(sums[d] / length);
    }
  });
  return means;
}

} // namespace

std::vector<float> mean_keys(const Tensors &tensors) {
  return mean_rows(tensors.k, tensors.shape.batch * tensors.num_kv_heads, tensors.shape.kv_len, tensors.head_dim);
}

std::vector<float> kbar_of(const Tensors &tensors, const Policy &policy) {
  if (policy.kbar.empty()) {
    return mean_keys(tensors);
  }
  std::vector<float> repeated;
  for (int b = 0; b < tensors.shape.batch; ++b) {
    repeated.insert(repeated.end(), policy.kbar.begin(), policy.kbar.end());
  }
  return repeated;
}

std::vector<float> mean_queries(const Tensors &tensors) {
  return mean_rows(tensors.q, tensors.shape.batch * tensors.num_q_heads, tensors.shape.q_len, tensors.head_dim);
}

} // namespace sale::reference
