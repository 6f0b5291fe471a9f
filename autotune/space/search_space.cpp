// SPDX-License-Identifier: Apache-2.0
#include "autotune/space/search_space.hpp"

#include "autotune/space/kernel_numbers.hpp"
#include "autotune/space/space_reader.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace sale::autotune {

/// Written by cmake/embed_spaces.cmake.
const std::vector<EmbeddedSpace> &embedded_spaces();

namespace {

bool exists(const KernelSpec &spec) {
  try {
    validate(spec);
  } catch (const Error &) {
    return false;
  }
  return true;
}

KernelSpec with_tile(KernelSpec spec, const Tile &tile) {
  spec.tile = tile;
  return spec;
}

} // namespace

const SearchSpace &SearchSpace::shipped() {
  static const SearchSpace space = [] {
    SearchSpace all;
    for (const EmbeddedSpace &file : embedded_spaces()) {
      SearchSpace one = parse(file.text, file.name);
      std::move(one.parts_.begin(), one.parts_.end(), std::back_inserter(all.parts_));
    }
    return all;
  }();
  return space;
}

SearchSpace SearchSpace::parse(const std::string &text, const std::string &file_name) {
  SearchSpace space;
  SpaceReader::read(text, file_name, space);
  return space;
}

bool SearchSpace::holds(const Constraint &constraint, const KernelSpec &spec) {
  try {
    return constraint.require.holds(spec);
  } catch (const Error &error) {
    throw Error(ErrorKind::invalid_argument, fmt::format("{}: {}", constraint.where, error.what()),
                {.spec = spec.describe()});
  }
}

const SearchSpace::Part *SearchSpace::find(const KernelSpec &spec) const {
  const auto found = std::find_if(parts_.begin(), parts_.end(), [&](const Part &part) {
    return part.stage == spec.stage && part.family == spec.family() && (!part.when || holds(*part.when, spec));
  });
  return found == parts_.end() ? nullptr : &*found;
}

std::vector<Tile> SearchSpace::product(const Part &part) {
  std::vector<Tile> tiles;
  for (const int rows : part.values[0]) {
    for (const int warps : part.values[1]) {
      for (const int keys : part.values[2]) {
        for (const int stages : part.values[3]) {
          for (const int ctas : part.values[4]) {
            tiles.push_back({rows, warps, keys, stages, ctas});
          }
        }
      }
    }
  }
  return tiles;
}

std::size_t SearchSpace::size(const KernelSpec &spec) const {
  const Part *part = find(with_tile(spec, default_tile(spec)));
  return part == nullptr ? 0 : product(*part).size();
}

SearchSpace::Tiles SearchSpace::tiles(const KernelSpec &spec) const {
  const Tile default_one = default_tile(spec);
  const KernelSpec with_default = with_tile(spec, default_one);
  const Part *part = find(with_default);
  if (part == nullptr) {
    return {{default_one}, {{"the space has nothing for it: the default alone", 1}}};
  }
  Tiles result{product(*part), {}};
  const auto keep = [&](const std::string &name, const auto &wanted) {
    std::erase_if(result.tiles, [&](const Tile &tile) { return !wanted(with_tile(spec, tile)); });
    result.steps.push_back({name, result.tiles.size()});
  };
  result.steps.push_back({"all values", result.tiles.size()});
  for (const Constraint &constraint : part->constraints) {
    keep(constraint.name, [&](const KernelSpec &candidate) { return holds(constraint, candidate); });
  }
  keep("a kernel has it", exists);
  std::erase(result.tiles, default_one);
  result.tiles.insert(result.tiles.begin(), default_one);
  result.steps.push_back({"the default with them", result.tiles.size()});
  return result;
}

std::string SearchSpace::part_text(const Part &part) {
  std::string text = fmt::format("{} {}{}\n", to_string(part.stage), autotune::to_string(part.family),
                                 part.when ? fmt::format(", when {}", part.when->require.text()) : "");
  for (std::size_t i = 0; i < part.values.size(); ++i) {
    text += fmt::format("  {:<14} {}\n", SpaceReader::fields[i], fmt::join(part.values[i], ", "));
  }
  for (const Constraint &constraint : part.constraints) {
    text += fmt::format("  {}:\n      {}\n", constraint.name, constraint.require.text());
  }
  return text;
}

std::string SearchSpace::text() const {
  std::string text;
  for (const Part &part : parts_) {
    text += fmt::format("{}{}", text.empty() ? "" : "\n", part_text(part));
  }
  return text;
}

std::string SearchSpace::text(const KernelSpec &spec) const {
  std::string text = spec.class_name() + "\n";
  for (const PruneStep &step : tiles(spec).steps) {
    text += fmt::format("  {:>5}  {}\n", step.left, step.name);
  }
  return text;
}

} // namespace sale::autotune
