// SPDX-License-Identifier: Apache-2.0
#include "autotune/space/space_reader.hpp"

#include "autotune/space/kernel_numbers.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sale::autotune {

namespace {

using io::YamlNode;

constexpr int schema = 1;
constexpr std::size_t most_bytes = 256U << 10U;
constexpr std::size_t most_parts = 64;
constexpr std::size_t most_constraints = 64; // of a part
constexpr std::size_t most_values = 32;      // of a field
constexpr std::size_t most_tiles = 4096;     // of a part, before its constraints
constexpr int most_value = 4096;
constexpr std::size_t most_name = 120;
constexpr io::YamlLimits limits = {.depth = 8, .nodes = 1U << 16U, .scalar = 1024};

std::vector<YamlNode> items_of(const YamlNode &node, const char *what, std::size_t most) {
  std::vector<YamlNode> items = node.items(what);
  if (items.size() > most) {
    node.refuse(fmt::format("there are {} {}; {} are the most", items.size(), what, most));
  }
  return items;
}

std::vector<int> values_of(const YamlNode &node, const char *name) {
  std::vector<int> values;
  for (const YamlNode &item : items_of(node, name, most_values)) {
    const int value = item.integer(name);
    if (value < 1 || value > most_value) {
      item.refuse(fmt::format("{} is {}; it must be from 1 to {}", name, value, most_value));
    }
    if (!values.empty() && value <= values.back()) {
      item.refuse(fmt::format("the values of {} must ascend", name));
    }
    values.push_back(value);
  }
  return values;
}

Stage stage_of(const YamlNode &node) {
  const std::string name = node.text("stage");
  for (const Stage stage : {Stage::prepare, Stage::select, Stage::attend}) {
    if (name == to_string(stage)) {
      return stage;
    }
  }
  node.refuse(fmt::format("stage '{}' has no tiles to choose; prepare, select and attend have", name));
}

std::string name_of(const YamlNode &node) {
  const std::string name = node.text("name");
  if (name.empty() || name.size() > most_name || name.find('\n') != std::string::npos) {
    node.refuse(fmt::format("a constraint's name must be one line of 1 to {} characters", most_name));
  }
  return name;
}

} // namespace

SearchSpace::Constraint SpaceReader::constraint(const YamlNode &node, const std::string &name) const {
  const std::string text = node.text(name);
  try {
    return {name, Predicate::parse(text), fmt::format("{}:{}", file_name_, node.line())};
  } catch (const Error &error) {
    node.refuse(fmt::format("\"{}\": {}", name, error.what()));
  }
}

SearchSpace::Part SpaceReader::part(const YamlNode &node, Stage stage) const {
  node.require_map({"family", "when", "tile", "constraints"});
  SearchSpace::Part part;
  part.stage = stage;
  const YamlNode family = node.at("family");
  try {
    part.family = parse_family(family.text("family"));
  } catch (const Error &error) {
    family.refuse(error.what());
  }
  if (const auto when = node.find("when")) {
    part.when = constraint(*when, "when");
  }
  const YamlNode tile = node.at("tile");
  tile.require_map({fields.begin(), fields.end()});
  std::size_t size = 1;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    part.values[i] = values_of(tile.at(fields[i]), fields[i]);
    size *= part.values[i].size(); // 32 to the fifth at most
  }
  if (size > most_tiles) {
    tile.refuse(fmt::format("these are {} tiles; {} are the most", size, most_tiles));
  }
  for (const YamlNode &item : items_of(node.at("constraints"), "constraints", most_constraints)) {
    item.require_map({"name", "require"});
    part.constraints.push_back(constraint(item.at("require"), name_of(item.at("name"))));
  }
  return part;
}

void SpaceReader::read(const std::string &text, const std::string &file_name, SearchSpace &space) {
  if (text.size() > most_bytes) {
    throw Error(ErrorKind::invalid_argument, fmt::format("{}: the file has {} bytes; a search space has at most {}",
                                                         file_name, text.size(), most_bytes));
  }
  const YamlNode root = YamlNode::parse(text, file_name, limits);
  root.require_map({"schema", "stage", "spaces"});
  const YamlNode schema_node = root.at("schema");
  if (const int found = schema_node.integer("schema"); found != schema) {
    schema_node.refuse(fmt::format("schema {} is not known; this version reads schema {}", found, schema));
  }
  const Stage stage = stage_of(root.at("stage"));
  const SpaceReader reader(file_name);
  for (const YamlNode &node : items_of(root.at("spaces"), "spaces", most_parts)) {
    space.parts_.push_back(reader.part(node, stage));
  }
}

} // namespace sale::autotune
