// SPDX-License-Identifier: Apache-2.0
// Loaded kernels: one, and those of one stage among which a call's length and density choose. Choosing neither
// allocates nor locks.
#pragma once

#include "generator/kernel_spec.hpp"
#include "generator/tuning.hpp"
#include "runtime/module.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace sale {

/// A loaded kernel and what a launch of it needs.
struct Kernel {
  KernelSpec spec;
  std::string options;                  ///< What it was compiled with.
  std::shared_ptr<const Module> module; ///< Null when the plan has no such stage.
  unsigned threads = 0;
  unsigned shared_memory = 0;
};

/// Kernels that differ in their tiles alone: any of them may follow, and be followed by, any kernel of other stages.
class StageKernels {
public:
  /// The first one is that of the default tile.
  void add(Kernel kernel) { kernels_.push_back(std::move(kernel)); }
  /// Of kernels added before.
  void choose_by(const std::vector<TileChoice> &choices);

  /// What all have in common but their tiles, such as the family.
  const KernelSpec &spec() const { return kernels_.front().spec; }
  /// For a call of `kv_len` keys; density 0 = unknown. Without choices the first one.
  const Kernel &at(int kv_len, float density) const;

private:
  struct Choice {
    TileChoice when;
    std::size_t kernel;
  };
  std::vector<Kernel> kernels_;
  std::vector<Choice> choices_;
};

} // namespace sale
