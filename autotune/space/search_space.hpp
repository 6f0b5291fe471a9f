// SPDX-License-Identifier: Apache-2.0
// SearchSpace: which tiles of a kernel are worth a look, as YAML declares it (prepare.yaml, select.yaml, attend.yaml).
#pragma once

#include "autotune/space/predicate.hpp"
#include "generator/kernel_spec.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sale::autotune {

/// What remained after a step, which is called by what it asks for.
struct PruneStep {
  std::string name;
  std::size_t left = 0;
};

/// A file of the space.
struct EmbeddedSpace {
  const char *name;
  const char *text;
};

class SearchSpace {
public:
  /// What this program was built with.
  static const SearchSpace &shipped();
  /// Throws Error(invalid_argument) "FILE:LINE: ...".
  static SearchSpace parse(const std::string &text, const std::string &file_name);

  /// Tiles before any constraint; 0 = the space has nothing for the kernel.
  std::size_t size(const KernelSpec &spec) const;

  struct Tiles {
    std::vector<Tile> tiles;
    std::vector<PruneStep> steps;
  };
  /// Those that the constraints and validate(KernelSpec) let through, the default first and always, the others in the
  /// order that the file gives. Where the space has nothing: the default alone.
  Tiles tiles(const KernelSpec &spec) const;

  /// All of it, to be read.
  std::string text() const;
  /// Which part is for a kernel, and how many tiles are left after each step.
  std::string text(const KernelSpec &spec) const;

private:
  struct Constraint {
    std::string name; ///< Why.
    Predicate require;
    std::string where; ///< FILE:LINE
  };
  /// What a stage of a family has, where `when` holds.
  struct Part {
    Stage stage = Stage::attend;
    KernelFamily family = KernelFamily::mma_sync;
    std::optional<Constraint> when;
    std::array<std::vector<int>, 5> values; ///< In the order of a Tile's fields.
    std::vector<Constraint> constraints;
  };

  static bool holds(const Constraint &constraint, const KernelSpec &spec);
  /// The first that is for the kernel.
  const Part *find(const KernelSpec &spec) const;
  static std::vector<Tile> product(const Part &part);
  static std::string part_text(const Part &part);
  friend class SpaceReader;

  std::vector<Part> parts_;
};

} // namespace sale::autotune
