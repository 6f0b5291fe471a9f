// SPDX-License-Identifier: Apache-2.0
#include "calibrate/shift.hpp"

#include "reference/metrics.hpp"
#include "reference/region.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sale {

namespace {

double ratio(std::size_t part, std::size_t whole, double of_nothing) {
  return whole == 0 ? of_nothing : static_cast<double>(part) / static_cast<double>(whole);
}

} // namespace

bool is_in(Part part, int query_block) { return part == Part::whole || (query_block % 2 == 0) == (part == Part::even); }

double Figures::density() const { return ratio(reference + kept, reference + estimated, 0.0); }
double Figures::exact_density() const { return ratio(reference + wanted, reference + estimated, 0.0); }
double Figures::kept_share() const { return ratio(found, wanted, 1.0); }
double Figures::hit_mass() const { return reference::hit_share(found_mass, wanted_mass); }

Figures &Figures::operator+=(const Figures &other) {
  rows += other.rows;
  reference += other.reference;
  estimated += other.estimated;
  wanted += other.wanted;
  kept += other.kept;
  found += other.found;
  wanted_mass += other.wanted_mass;
  found_mass += other.found_mass;
  return *this;
}

Figures figures_of(const HeadBlocks &blocks, const Policy &policy, const Shape &shape, double shift, Part part) {
  Figures figures;
  for (int m = 0; m < reference::ceil_div(shape.q_len, policy.block_q); ++m) {
    const reference::Region region = reference::region_of(policy, shape, m);
    if (is_in(part, m)) {
      figures.rows +=
          static_cast<std::size_t>(shape.batch) * std::min(policy.block_q, shape.q_len - m * policy.block_q);
      figures.reference += static_cast<std::size_t>(shape.batch) * (region.visible_count() - region.estimated_count());
    }
  }
  for (const Block &block : blocks) {
    if (!is_in(part, block.query_block)) {
      continue;
    }
    const bool kept = block.margin > -shift;
    ++figures.estimated;
    figures.kept += kept ? 1 : 0;
    if (block.wanted()) {
      ++figures.wanted;
      figures.wanted_mass += block.mass;
      figures.found += kept ? 1 : 0;
      figures.found_mass += kept ? block.mass : 0.0;
    }
  }
  return figures;
}

Shift smallest_shift(const std::vector<const HeadBlocks *> &lists, double target, Part part) {
  std::vector<const Block *> wanted;
  double total = 0.0;
  for (const HeadBlocks *list : lists) {
    for (const Block &block : *list) {
      if (block.wanted() && is_in(part, block.query_block)) {
        wanted.push_back(&block);
        total += block.mass;
      }
    }
  }
  if (wanted.empty()) {
    return {};
  }
  std::sort(wanted.begin(), wanted.end(), [](const Block *a, const Block *b) { return a->margin > b->margin; });
  double found = 0.0;
  double least = std::numeric_limits<double>::infinity(); // the margin of the last block that must be kept
  Shift shift;
  for (std::size_t i = 0; i < wanted.size() && found < target * total; ++i) {
    if (!std::isfinite(wanted[i]->margin) && wanted[i]->margin < 0.0) {
      shift.reached = false;
      break;
    }
    found += wanted[i]->mass;
    least = wanted[i]->margin;
  }
  if (std::isfinite(least)) {
    // Strictly above -least, which thousandths also make robust against rounding.
    shift.nats = static_cast<float>((std::floor(-least * 1000.0) + 1.0) / 1000.0);
  }
  return shift;
}

} // namespace sale
