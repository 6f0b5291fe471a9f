// SPDX-License-Identifier: Apache-2.0
#include "synth/structure.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace sale::synth {

namespace {

std::vector<Style> styles() {
  return {
      {.band = 5.5, .slash = 0, .line = 0, .stripe = 6, .topic = 5, .sink = {13.8, 13.2, 11.7, 11.1, 10.2}},
      {.band = 4, .slash = 0, .line = 0, .stripe = 8, .topic = 4, .sink = {14.4, 13.4, 12, 9.5, 9.1}},
      {.band = 4, .slash = 0, .line = 0, .stripe = 5, .topic = 8, .sink = {14.8, 13.5, 11.5, 9.7, 7.1}},
      {.band = 4, .slash = 6, .line = 4, .stripe = 4, .topic = 3, .sink = {15.6, 15.4, 15.2, 12.8, 10.8}},
  };
}

void require(bool good, const std::string &sentence) {
  if (!good) {
    throw Error(ErrorKind::invalid_argument, sentence);
  }
}

// Structure::sink, in 1024ths, that gives a density (column) at a length (row): measured by sale_synth_tune.
constexpr std::array<int, 5> tuned_lengths = {8192, 16384, 32768, 65536, 131072};
constexpr std::array<double, 6> tuned_densities = {0.08, 0.1, 0.12, 0.15, 0.2, 0.3};
constexpr std::array<std::array<double, tuned_densities.size()>, tuned_lengths.size()> tuned_sinks = {{
    {1396, 1290, 1212, 1129, 1043, 944},
    {1232, 1162, 1110, 1054, 990, 906},
    {1167, 1110, 1068, 1022, 965, 886},
    {1161, 1111, 1073, 1028, 974, 896},
    {1141, 1094, 1058, 1015, 963, 886},
}};

// With fewer channels features overlap more, which the sink must outweigh: times the tuned value, for the same density.
double sink_factor(int head_dim) {
  switch (head_dim) {
  case 64: return 1.22;
  case 96: return 1.05;
  case 128: return 1.0;
  case 192: return 0.9; // between its neighbours
  case 256: return 0.82;
  default:
    throw Error(ErrorKind::invalid_argument, fmt::format("head_dim {} must be 64, 96, 128, 192 or 256", head_dim));
  }
}

// Where `value` lies between two entries of an ascending table.
struct Place {
  std::size_t below;
  double part;
};

template <class T, std::size_t size>
Place place_in(const std::array<T, size> &table, double value) {
  const auto above = std::upper_bound(table.begin() + 1, table.end() - 1, value);
  const auto below = static_cast<std::size_t>(above - table.begin()) - 1;
  const double part = (value - table[below]) / (table[below + 1] - table[below]);
  return {below, std::clamp(part, 0.0, 1.0)};
}

double tuned_sink(int length, double density) {
  const Place row = place_in(tuned_lengths, length);
  const Place column = place_in(tuned_densities, density);
  const auto at_length = [&](std::size_t i) {
    const auto &sinks = tuned_sinks[i];
    return sinks[column.below] + (sinks[column.below + 1] - sinks[column.below]) * column.part;
  };
  return (at_length(row.below) + (at_length(row.below + 1) - at_length(row.below)) * row.part) / 1024.0;
}

} // namespace

Structure structure_for(int length, double density, int head_dim) {
  require(length >= 1, fmt::format("length {} must be at least 1", length));
  require(density >= 0.08 && density <= 0.3, fmt::format("density {} must be between 0.08 and 0.3", density));
  Structure structure;
  structure.styles = styles();
  structure.sink = tuned_sink(length, density) * sink_factor(head_dim);
  return structure;
}

HeadRole role_of(const Problem &problem, const Structure &structure, int q_head) {
  const int group = problem.num_q_heads / problem.num_kv_heads;
  const int kv_head = q_head / group;
  const int num_styles = static_cast<int>(structure.styles.size());
  const int which = kv_head / 2; // among the groups of its sort
  HeadRole role;
  role.shared = kv_head % 2 == 0;
  if (role.shared) {
    role.style = which % num_styles;
    const int shared_groups = (problem.num_kv_heads + 1) / 2;
    role.rank = (which + 0.5) / shared_groups;
    return role;
  }
  // Each differing group has sparse and dense heads, and all differing groups together every rank from 0 to 1.
  const int groups = problem.num_kv_heads / 2;
  const int member = q_head % group;
  const int heads = groups * group;
  role.style = (member + which) % num_styles;
  role.rank = heads == 1 ? 0.5 : static_cast<double>(member * groups + which) / (heads - 1);
  return role;
}

double sink_of(const Structure &structure, const HeadRole &role) {
  const auto &sink = structure.styles[role.style].sink;
  const double place = role.rank * static_cast<double>(sink.size() - 1);
  const auto below = std::min(static_cast<std::size_t>(place), sink.size() - 2);
  return sink[below] + (sink[below + 1] - sink[below]) * (place - static_cast<double>(below));
}

void validate(const Structure &structure) {
  require(!structure.styles.empty(), "a structure needs at least one style of query heads");
  const auto at_least = [](const char *name, int value, int smallest) {
    require(value >= smallest, fmt::format("{} {} must be at least {}", name, value, smallest));
  };
  at_least("sink_keys", structure.sink_keys, 0);
  at_least("stripe_every", structure.stripe_every, 1);
  at_least("stripe_kinds", structure.stripe_kinds, 1);
  at_least("topic_tokens", structure.topic_tokens, 1);
  at_least("lines", structure.lines, 0);
  at_least("needles", structure.needles, 0);
  at_least("outlier_channels", structure.outlier_channels, 0);
  require(structure.topics >= 1 && structure.topics <= 256,
          fmt::format("topics {} must be between 1 and 256", structure.topics));
  require(structure.needle_rows >= 1 && structure.needle_rows <= 64,
          fmt::format("needle_rows {} must be between 1 and 64", structure.needle_rows));
  require(std::isfinite(structure.sink), fmt::format("sink {} must be a finite number", structure.sink));
  require(structure.slash_period > 1, fmt::format("slash_period {} must be above 1", structure.slash_period));
  require(structure.key_feature > 0, fmt::format("key_feature {} must be positive", structure.key_feature));
  require(structure.outlier_noise > 0, fmt::format("outlier_noise {} must be positive", structure.outlier_noise));
}

} // namespace sale::synth
