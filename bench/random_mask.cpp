// SPDX-License-Identifier: Apache-2.0
#include "bench/random_mask.hpp"

#include "core/parallel_for.hpp"
#include "reference/region.hpp"
#include "sale/sale.hpp"
#include "synth/random.hpp"

#include <algorithm>
#include <bit>

namespace sale::bench {

namespace {

int q_blocks(const Policy &policy, const Shape &shape) { return (shape.q_len + policy.block_q - 1) / policy.block_q; }

} // namespace

std::vector<std::uint32_t> random_mask(const Problem &problem, const Policy &policy, const Shape &shape, double density,
                                       std::uint64_t seed) {
  std::vector<std::uint32_t> words(mask_words(problem, policy, shape));
  const int rows = shape.batch * problem.num_q_heads * q_blocks(policy, shape);
  const std::size_t row_words = words.size() / static_cast<std::size_t>(std::max(rows, 1));
  const synth::Random random(seed);
  parallel_for(rows, [&](std::int64_t row) {
    const reference::Region region =
        reference::region_of(policy, problem, shape, static_cast<int>(row % q_blocks(policy, shape)));
    const int others = region.estimated_count();
    const int fixed = region.visible_count() - others;
    const double chance = others == 0 ? 0 : (density * region.visible_count() - fixed) / others;
    const synth::Random draws = random.child(static_cast<std::uint64_t>(row));
    std::uint32_t *bits = words.data() + static_cast<std::size_t>(row) * row_words;
    for (int j = region.first_visible; j < region.visible_blocks; ++j) {
      const bool kept = region.in_reference(j) || draws.uniform(static_cast<std::uint64_t>(j)) < chance;
      bits[j / 32] |= static_cast<std::uint32_t>(kept) << static_cast<unsigned>(j % 32);
    }
  });
  return words;
}

double mask_density(const std::vector<std::uint32_t> &words, const Problem &problem, const Policy &policy,
                    const Shape &shape) {
  std::size_t kept = 0;
  for (const std::uint32_t word : words) {
    kept += static_cast<std::size_t>(std::popcount(word));
  }
  double visible = 0;
  for (int m = 0; m < q_blocks(policy, shape); ++m) {
    visible += reference::region_of(policy, problem, shape, m).visible_count();
  }
  visible *= static_cast<double>(shape.batch) * problem.num_q_heads;
  return visible == 0 ? 0 : static_cast<double>(kept) / visible;
}

} // namespace sale::bench
