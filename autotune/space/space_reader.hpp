// SPDX-License-Identifier: Apache-2.0
// The YAML of a SearchSpace.
#pragma once

#include "autotune/space/search_space.hpp"
#include "io/yaml.hpp"

#include <array>
#include <string>

namespace sale::autotune {

class SpaceReader {
public:
  static constexpr std::array<const char *, 5> fields = {"rows_per_warp", "warps", "keys_per_step", "stages",
                                                         "min_ctas"};

  /// Adds what the file has to the space. Throws Error(invalid_argument) "FILE:LINE: ...".
  static void read(const std::string &text, const std::string &file_name, SearchSpace &space);

private:
  SpaceReader(const std::string &file_name) : file_name_(file_name) {}

  SearchSpace::Part part(const io::YamlNode &node, Stage stage) const;
  SearchSpace::Constraint constraint(const io::YamlNode &node, const std::string &name) const;

  const std::string &file_name_;
};

} // namespace sale::autotune
