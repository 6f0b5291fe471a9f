// SPDX-License-Identifier: Apache-2.0
#include "io/tau_file.hpp"

#include "io/names.hpp"
#include "io/yaml.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <cmath>

namespace sale::io {

namespace {

constexpr int schema = 1;

Policy parse_policy(const YamlNode &node) {
  node.require_map({"estimator", "block_q", "block_k", "sink", "window"});
  Policy policy;
  if (const auto estimator = node.find("estimator")) {
    try {
      policy.estimator = parse_estimator(estimator->text("estimator"));
    } catch (const Error &error) {
      estimator->refuse(error.what());
    }
  }
  const auto read = [&](const char *key, int &value) {
    if (const auto entry = node.find(key)) {
      value = entry->integer(key);
    }
  };
  read("block_q", policy.block_q);
  read("block_k", policy.block_k);
  read("sink", policy.sink);
  read("window", policy.window);
  return policy;
}

// tau and shift share one layout, [layer][head], every layer as long as the first.
std::vector<std::vector<float>> parse_table(const YamlNode &node, const std::string &what, float least) {
  std::vector<std::vector<float>> table;
  for (const YamlNode &layer : node.items(what)) {
    const std::string name = fmt::format("{}[{}]", what, table.size());
    std::vector<float> heads;
    for (const YamlNode &head : layer.items(name)) {
      const float value = head.number(fmt::format("{}[{}]", name, heads.size()));
      if (!std::isfinite(value) || value < least) {
        head.refuse(fmt::format("{}[{}] is {}; it must be a finite number{}", name, heads.size(), value,
                                least == 0.0F ? " >= 0" : ""));
      }
      heads.push_back(value);
    }
    if (!table.empty() && heads.size() != table.front().size()) {
      layer.refuse(fmt::format("{} has {} heads, but {}[0] has {}", name, heads.size(), what, table.front().size()));
    }
    table.push_back(std::move(heads));
  }
  return table;
}

} // namespace

TauFile load_tau_file(const std::filesystem::path &path) {
  const YamlNode root = YamlNode::load(path);
  root.require_map({"schema", "model", "policy", "tau", "shift"});
  const YamlNode schema_node = root.at("schema");
  if (const int found = schema_node.integer("schema"); found != schema) {
    schema_node.refuse(fmt::format("schema {} is not known; this version reads schema {}", found, schema));
  }
  TauFile file;
  file.file_name = path.string();
  if (const auto model = root.find("model")) {
    file.model = model->text("model");
  }
  if (const auto policy = root.find("policy")) {
    file.policy = parse_policy(*policy);
  }
  file.tau = parse_table(root.at("tau"), "tau", 0.0F);
  if (const auto shift = root.find("shift")) {
    file.shift = parse_table(*shift, "shift", -INFINITY);
    if (file.shift.size() != file.tau.size() || file.shift.front().size() != file.tau.front().size()) {
      shift->refuse(fmt::format("shift has {} layers of {} heads, but tau has {} of {}", file.shift.size(),
                                file.shift.front().size(), file.tau.size(), file.tau.front().size()));
    }
  }
  return file;
}

Policy layer_policy(const TauFile &file, std::optional<int> layer, const Problem &problem) {
  const auto refuse = [&](const std::string &sentence) {
    throw Error(ErrorKind::invalid_argument, fmt::format("{}: {}", file.file_name, sentence));
  };
  if (!layer && file.tau.size() > 1) {
    refuse(fmt::format("the file has {} layers; say which one with --layer", file.tau.size()));
  }
  const int index = layer.value_or(0);
  if (index < 0 || static_cast<std::size_t>(index) >= file.tau.size()) {
    refuse(fmt::format("there is no layer {}; the file has layers 0 to {}", index, file.tau.size() - 1));
  }
  const auto row = static_cast<std::size_t>(index);
  if (file.tau[row].size() != static_cast<std::size_t>(problem.num_q_heads)) {
    refuse(fmt::format("the file has thresholds for {} query heads, but the input has {}", file.tau[row].size(),
                       problem.num_q_heads));
  }
  Policy policy = file.policy;
  policy.tau_per_head = file.tau[row];
  if (!file.shift.empty()) {
    policy.shift_per_head = file.shift[row];
  }
  return policy;
}

} // namespace sale::io
