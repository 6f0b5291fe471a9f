// SPDX-License-Identifier: Apache-2.0
#include "calibrate/channels.hpp"

#include "calibrate/balanced_projection.hpp"

#include "reference/channels.hpp"
#include "reference/means.hpp"

#include <algorithm>
#include <numeric>

namespace sale {

using reference::Tensors;

namespace {

/// The same with zeros for the queries outside `part`, which then have no energy.
Tensors only(const Tensors &tensors, const Policy &policy, Part part) {
  Tensors result = tensors;
  for (std::size_t row = 0; row < tensors.q_rows(); ++row) {
    const int query_block = static_cast<int>(row % tensors.shape.q_len) / policy.block_q;
    if (!is_in(part, query_block)) {
      std::fill_n(result.q.begin() + static_cast<std::ptrdiff_t>(row * tensors.head_dim), tensors.head_dim, 0.0F);
    }
  }
  return result;
}

} // namespace

std::vector<int> channels_by_energy(const std::vector<const Tensors *> &samples, const Policy &policy, Part part) {
  const int dim = samples.front()->head_dim;
  const int heads = samples.front()->num_kv_heads;
  std::vector<double> energies(static_cast<std::size_t>(heads) * dim);
  for (const Tensors *sample : samples) {
    const reference::Energies e =
        reference::channel_energies(only(*sample, policy, part), reference::kbar_of(*sample, policy));
    for (std::size_t i = 0; i < e.queries.size(); ++i) {
      energies[i % energies.size()] += e.queries[i] * e.keys[i];
    }
  }
  std::vector<int> channels;
  for (int g = 0; g < heads; ++g) {
    const double *energy = energies.data() + static_cast<std::ptrdiff_t>(g) * dim;
    std::vector<int> order(dim);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](int a, int b) { return energy[a] > energy[b] || (energy[a] == energy[b] && a < b); });
    order.resize(policy.estimate_dim);
    std::sort(order.begin(), order.end());
    channels.insert(channels.end(), order.begin(), order.end());
  }
  return channels;
}

void choose_estimate(Policy &policy, const std::vector<reference::Tensors> &samples, bool project, Part part) {
  if (policy.estimator != Estimator::fp8 || !policy.channels.empty() || !policy.projection.empty() ||
      policy.estimate_dim == 0 || policy.estimate_dim >= samples.front().head_dim) {
    return;
  }
  std::vector<const reference::Tensors *> pointers;
  pointers.reserve(samples.size());
  for (const reference::Tensors &sample : samples) {
    pointers.push_back(&sample);
  }
  if (project) {
    policy.projection = balanced_projection(pointers, policy, part);
  } else {
    policy.channels = channels_by_energy(pointers, policy, part);
  }
}

} // namespace sale
