// SPDX-License-Identifier: Apache-2.0
#include "reference/channels.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace sale::reference {

namespace {

constexpr int token_step = 8; ///< Of all tokens, energies sample every eighth.

/// The `count` channels of largest energy, ascending.
std::vector<int> largest(const double *queries, const double *keys, int head_dim, int count) {
  std::vector<double> energies(head_dim);
  for (int d = 0; d < head_dim; ++d) {
    const double energy = queries[d] * keys[d];
    energies[d] = std::isnan(energy) ? std::numeric_limits<double>::infinity() : energy;
  }
  std::vector<int> order(head_dim);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int a, int b) { return energies[a] > energies[b] || (energies[a] == energies[b] && a < b); });
  order.resize(count);
  std::sort(order.begin(), order.end());
  return order;
}

} // namespace

Energies channel_energies(const Tensors &tensors, const std::vector<float> &kbar) {
  const int dim = tensors.head_dim;
  Energies energies;
  energies.queries.resize(kbar.size());
  energies.keys.resize(kbar.size());
  for (int b = 0; b < tensors.shape.batch; ++b) {
    for (int g = 0; g < tensors.num_kv_heads; ++g) {
      const std::size_t first = (static_cast<std::size_t>(b) * tensors.num_kv_heads + g) * dim;
      for (int h = g * tensors.group(); h < (g + 1) * tensors.group(); ++h) {
        for (int i = 0; i < tensors.shape.q_len; i += token_step) {
          for (int d = 0; d < dim; ++d) {
            const double q = tensors.query(b, h, i)[d];
            energies.queries[first + d] += q * q;
          }
        }
      }
      for (int j = 0; j < tensors.shape.kv_len; j += token_step) {
        for (int d = 0; d < dim; ++d) {
          const float smoothed = tensors.key(b, g, j)[d] - kbar[first + d];
          energies.keys[first + d] += static_cast<double>(smoothed) * smoothed;
        }
      }
    }
  }
  return energies;
}

Channels choose_channels(const Tensors &tensors, const Policy &policy, const std::vector<float> &kbar) {
  Channels channels;
  if (!policy.projection.empty()) {
    return channels;
  }
  const int dim = tensors.head_dim;
  const int count = estimate_dim(policy, dim);
  const bool by_energy = policy.channels.empty() && count < dim;
  const Energies energies = by_energy || policy.prune_queries ? channel_energies(tensors, kbar) : Energies();
  for (int head = 0; head < tensors.shape.batch * tensors.num_kv_heads; ++head) {
    const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(head) * dim;
    std::vector<int> index(count);
    if (by_energy) {
      index = largest(energies.queries.data() + first, energies.keys.data() + first, dim, count);
    } else if (policy.channels.empty()) {
      std::iota(index.begin(), index.end(), 0);
    } else {
      std::copy_n(policy.channels.begin() + static_cast<std::ptrdiff_t>(head % tensors.num_kv_heads) * count, count,
                  index.begin());
    }
    for (const int d : index) {
      channels.index.push_back(d);
      if (policy.prune_queries) {
        channels.weights.push_back(static_cast<float>(std::sqrt(energies.keys[first + d])));
      }
    }
  }
  return channels;
}

} // namespace sale::reference
