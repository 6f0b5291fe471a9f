// SPDX-License-Identifier: Apache-2.0
// The tiles of each kernel class of a tuning run that are worth measuring, and how many each step of pruning left.
#pragma once

#include "autotune/model/cost_model.hpp"
#include "autotune/search/buckets.hpp"
#include "autotune/space/search_space.hpp"
#include "autotune/space/shortlist.hpp"
#include "runtime/kernel_factory.hpp"

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace sale::cli {

class TuneShortlists {
public:
  struct Class {
    KernelSpec kernel;
    std::size_t space = 0; ///< Tiles before any constraint.
    autotune::Shortlist shortlist;
    double seconds = 0; ///< To make it.
  };
  /// Of a class's tiles: class k of n, tile i of m.
  using Told = std::function<void(const std::string &)>;

  /// Of every kernel of the buckets. Compiles into the factory's cache; without one, nothing is compiled. Throws
  /// Error(cancelled).
  TuneShortlists(const std::vector<autotune::TuneBucket> &buckets, const KernelFactory *factory, int jobs,
                 const std::function<bool()> &cancelled, const Told &told);

  const std::vector<Class> &classes() const { return classes_; }
  bool compiled() const { return compiled_; }
  double seconds() const;

  /// With what the model says of them for this task.
  std::vector<autotune::Candidate> candidates(const autotune::Task &task, const autotune::GpuParameters &gpu) const;

private:
  bool compiled_;
  std::vector<Class> classes_;
};

} // namespace sale::cli
