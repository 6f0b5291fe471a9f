// SPDX-License-Identifier: Apache-2.0
// Shortlist: the tiles of a kernel that may win, by what is known without a GPU: first by their resources, then by what
// the compiler makes of them.
#pragma once

#include "autotune/space/candidate.hpp"
#include "autotune/space/search_space.hpp"
#include "runtime/kernel_factory.hpp"

#include <functional>
#include <string>
#include <vector>

namespace sale::autotune {

struct LeftOut {
  Tile tile;
  std::string why;
};

struct Shortlist {
  std::vector<Candidate> candidates; ///< The default first.
  std::vector<PruneStep> steps;
  std::vector<LeftOut> left_out; ///< By the resources or the compiler.
};

/// Without a compiler: ResourceUse::registers stay 0.
Shortlist estimate(const KernelSpec &spec, const SearchSpace &space);

/// Compiles the candidates on `jobs` threads (0 = one per core) into the factory's cache. A tile that the compiler
/// refuses, whose kernel spills more than the default's, or differs from one before it in min_ctas but not in registers
/// is left out. Throws Error(cancelled), and what keeps the default from being compiled. `progress` is called by one
/// thread at a time.
Shortlist compile(const Shortlist &estimated, const KernelSpec &spec, const KernelFactory &factory, int jobs,
                  const std::function<bool()> &cancelled, const std::function<void(int done, int total)> &progress);

} // namespace sale::autotune
