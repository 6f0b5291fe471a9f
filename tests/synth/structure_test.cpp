// SPDX-License-Identifier: Apache-2.0
#include "synth/structure.hpp"

#include "sale/error.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace sale::synth {
namespace {

TEST(StructureFor, a_lower_density_has_a_stronger_sink) {
  for (const int length : {1, 4096, 32768, 50000, 65536, 131072, 1000000}) {
    EXPECT_GT(structure_for(length, 0.12).sink, structure_for(length, 0.15).sink) << length;
    EXPECT_GT(structure_for(length, 0.15).sink, 0.5) << length;
  }
}

TEST(StructureFor, lies_between_its_neighbours_between_tuned_points) {
  const auto between = [](double x, double a, double b) { return std::min(a, b) <= x && x <= std::max(a, b); };
  const double low = structure_for(32768).sink;
  const double high = structure_for(65536).sink;
  EXPECT_TRUE(between(structure_for(40000).sink, low, high));
  EXPECT_TRUE(between(structure_for(32768, 0.13).sink, low, structure_for(32768, 0.15).sink));
}

TEST(StructureFor, refuses_what_it_cannot_do) {
  EXPECT_THROW(structure_for(0), Error);
  EXPECT_THROW(structure_for(4096, 0.07), Error);
  EXPECT_THROW(structure_for(4096, 0.31), Error);
  EXPECT_THROW(structure_for(4096, 0.12, 80), Error);
}

TEST(Roles, of_a_shared_group_are_one_and_those_of_a_differing_group_are_not) {
  const Problem problem;
  const Structure structure = structure_for(32768);
  for (int g = 0; g < problem.num_kv_heads; ++g) {
    std::set<double> ranks;
    std::set<int> styles;
    for (int h = 4 * g; h < 4 * g + 4; ++h) {
      const HeadRole role = role_of(problem, structure, h);
      EXPECT_EQ(role.shared, g % 2 == 0);
      ranks.insert(role.rank);
      styles.insert(role.style);
    }
    EXPECT_EQ(ranks.size(), g % 2 == 0 ? 1U : 4U);
    EXPECT_EQ(styles.size(), g % 2 == 0 ? 1U : 4U);
  }
}

TEST(Roles, cover_all_styles_and_the_whole_range_of_densities) {
  const Problem problem;
  const Structure structure = structure_for(32768);
  std::set<int> styles;
  std::set<double> ranks;
  for (int h = 0; h < problem.num_q_heads; ++h) {
    const HeadRole role = role_of(problem, structure, h);
    styles.insert(role.style);
    ranks.insert(role.rank);
    EXPECT_LE(sink_of(structure, role), structure.styles[role.style].sink.front());
    EXPECT_GE(sink_of(structure, role), structure.styles[role.style].sink.back());
  }
  EXPECT_EQ(styles.size(), structure.styles.size());
  EXPECT_EQ(*ranks.begin(), 0.0);
  EXPECT_EQ(*ranks.rbegin(), 1.0);
}

TEST(Roles, exist_for_every_number_of_heads) {
  const Structure structure = structure_for(32768);
  for (int kv_heads = 1; kv_heads <= 9; ++kv_heads) {
    for (int group = 1; group <= 9; ++group) {
      Problem problem;
      problem.num_kv_heads = kv_heads;
      problem.num_q_heads = kv_heads * group;
      for (int h = 0; h < problem.num_q_heads; ++h) {
        const HeadRole role = role_of(problem, structure, h);
        EXPECT_GE(role.rank, 0.0);
        EXPECT_LE(role.rank, 1.0);
        EXPECT_LT(role.style, static_cast<int>(structure.styles.size()));
      }
    }
  }
}

TEST(Structure, that_makes_no_sense_is_refused) {
  const auto refused = [](auto change) {
    Structure structure = structure_for(4096);
    change(structure);
    EXPECT_THROW(validate(structure), Error);
  };
  refused([](Structure &s) { s.styles.clear(); });
  refused([](Structure &s) { s.topics = 0; });
  refused([](Structure &s) { s.topics = 257; });
  refused([](Structure &s) { s.stripe_every = 0; });
  refused([](Structure &s) { s.key_feature = 0; });
  refused([](Structure &s) { s.needle_rows = 0; });
}

} // namespace
} // namespace sale::synth
