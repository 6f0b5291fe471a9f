// SPDX-License-Identifier: Apache-2.0
// The smallest threshold shift of one query head that keeps enough of the attention which the exact mask keeps, and
// what a shift gives.
#pragma once

#include "calibrate/blocks.hpp"

#include <cstddef>

namespace sale {

/// Which query blocks count. Two halves that alternate see the same positions, so that each can judge the other.
enum class Part { whole, even, odd };
bool is_in(Part part, int query_block);

/// Blocks of one query head in a part of its query blocks, at one shift.
struct Figures {
  std::size_t rows = 0;      ///< Query rows; each has a mass of 1.
  std::size_t reference = 0; ///< Blocks of R: always kept.
  std::size_t estimated = 0;
  std::size_t wanted = 0; ///< Estimated blocks that the exact mask keeps.
  std::size_t kept = 0;   ///< Estimated blocks that are kept.
  std::size_t found = 0;  ///< Wanted and kept.
  double wanted_mass = 0;
  double found_mass = 0;

  double density() const;       ///< R included.
  double exact_density() const; ///< The exact mask's.
  double kept_share() const;    ///< Of the wanted blocks; 1 where there are none.
  double hit_mass() const;      ///< docs/numerics.md, section 10.
  /// At least a thousandth of the head's mass is wanted: less says nothing about an estimate.
  bool counts() const { return wanted_mass >= 1e-3 * static_cast<double>(rows); }
  Figures &operator+=(const Figures &other);
};
Figures figures_of(const HeadBlocks &blocks, const Policy &policy, const Shape &shape, double shift,
                   Part part = Part::whole);

struct Shift {
  float nats = 0;
  bool reached = true; ///< False where no shift keeps enough: the estimator never selects some blocks.
};

/// The smallest multiple of 0.001 nats with hit_mass >= `target` over all the lists; 0 where nothing is wanted.
Shift smallest_shift(const std::vector<const HeadBlocks *> &lists, double target, Part part = Part::whole);

} // namespace sale
