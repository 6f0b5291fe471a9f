// SPDX-License-Identifier: Apache-2.0
#include "io/policy_file.hpp"

#include "io/names.hpp"
#include "io/yaml.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>

namespace sale::io {

namespace {

constexpr int schema = 1;

// The numbers and switches of a policy by their names in files, for reading and writing.
template <class Visit>
void for_each_number(Policy &policy, Visit visit) {
  visit("estimate_dim", policy.estimate_dim);
  visit("block_q", policy.block_q);
  visit("block_k", policy.block_k);
  visit("sink", policy.sink);
  visit("window", policy.window);
  visit("dense_below", policy.dense_below);
}

template <class Visit>
void for_each_switch(Policy &policy, Visit visit) {
  visit("prune_queries", policy.prune_queries);
  visit("fp8_attend", policy.fp8_attend);
  visit("second_filter", policy.second_filter);
}

Policy parse_policy(const YamlNode &node) {
  Policy policy;
  std::vector<std::string_view> keys = {"estimator"};
  const auto add_key = [&](const char *key, const auto &) { keys.emplace_back(key); };
  for_each_number(policy, add_key);
  for_each_switch(policy, add_key);
  node.require_map(keys);
  if (const auto estimator = node.find("estimator")) {
    try {
      policy.estimator = parse_estimator(estimator->text("estimator"));
    } catch (const Error &error) {
      estimator->refuse(error.what());
    }
  }
  for_each_number(policy, [&](const char *key, int &value) {
    if (const auto entry = node.find(key)) {
      value = entry->integer(key);
    }
  });
  for_each_switch(policy, [&](const char *key, bool &value) {
    if (const auto entry = node.find(key)) {
      value = entry->boolean(key);
    }
  });
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

std::vector<int> parse_integers(const YamlNode &node, const std::string &what) {
  std::vector<int> values;
  for (const YamlNode &item : node.items(what)) {
    values.push_back(item.integer(fmt::format("{}[{}]", what, values.size())));
  }
  return values;
}

std::vector<std::vector<std::vector<int>>> parse_channels(const YamlNode &node) {
  std::vector<std::vector<std::vector<int>>> layers;
  for (const YamlNode &layer : node.items("channels")) {
    std::vector<std::vector<int>> heads;
    for (const YamlNode &head : layer.items(fmt::format("channels[{}]", layers.size()))) {
      heads.push_back(parse_integers(head, fmt::format("channels[{}][{}]", layers.size(), heads.size())));
    }
    layers.push_back(std::move(heads));
  }
  return layers;
}

// The layers that the rows are of: 0, 1, 2 ... unless the file says otherwise.
std::vector<int> parse_layers(const YamlNode &root, std::size_t rows) {
  std::vector<int> layers(rows);
  std::iota(layers.begin(), layers.end(), 0);
  if (const auto node = root.find("layers")) {
    layers = parse_integers(*node, "layers");
    if (layers.size() != rows) {
      node->refuse(fmt::format("layers has {} entries, but tau has {}", layers.size(), rows));
    }
  }
  return layers;
}

// A plain name, so that a policy file reaches nothing but its own folder.
std::string parse_tensors(const YamlNode &node) {
  std::string name = node.text("tensors");
  if (name.empty() || name == "." || name == ".." || name.find_first_of("/\\") != std::string::npos) {
    node.refuse(fmt::format("tensors is '{}'; it must be the name of a file in the folder of this one", name));
  }
  return name;
}

} // namespace

PolicyFile load_policy_file(const std::filesystem::path &path) {
  const YamlNode root = YamlNode::load(path);
  root.require_map({"schema", "model", "policy", "layers", "tau", "shift", "channels", "tensors"});
  const YamlNode schema_node = root.at("schema");
  if (const int found = schema_node.integer("schema"); found != schema) {
    schema_node.refuse(fmt::format("schema {} is not known; this version reads schema {}", found, schema));
  }
  PolicyFile file;
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
  if (const auto channels = root.find("channels")) {
    file.channels = parse_channels(*channels);
    if (file.channels.size() != file.tau.size()) {
      channels->refuse(fmt::format("channels has {} layers, but tau has {}", file.channels.size(), file.tau.size()));
    }
  }
  file.layers = parse_layers(root, file.tau.size());
  if (const auto tensors = root.find("tensors")) {
    file.tensors = parse_tensors(*tensors);
    file.arrays = load_policy_tensors(path.parent_path() / file.tensors, file.layers);
  }
  return file;
}

Policy layer_policy(const PolicyFile &file, std::optional<int> layer, const Problem &problem) {
  const auto refuse = [&](const std::string &sentence) {
    throw Error(ErrorKind::invalid_argument, fmt::format("{}: {}", file.file_name, sentence));
  };
  if (!layer && file.tau.size() > 1) {
    refuse(fmt::format("the file has {} layers; say which one with --layer", file.tau.size()));
  }
  const auto found = layer ? std::find(file.layers.begin(), file.layers.end(), *layer) : file.layers.begin();
  if (found == file.layers.end()) {
    refuse(fmt::format("there is no layer {}; the file has the layers {}", *layer, fmt::join(file.layers, ", ")));
  }
  const auto row = static_cast<std::size_t>(found - file.layers.begin());
  if (file.tau[row].size() != static_cast<std::size_t>(problem.num_q_heads)) {
    refuse(fmt::format("the file has thresholds for {} query heads, but the input has {}", file.tau[row].size(),
                       problem.num_q_heads));
  }
  Policy policy = file.policy;
  policy.tau_per_head = file.tau[row];
  if (!file.shift.empty()) {
    policy.shift_per_head = file.shift[row];
  }
  if (!file.arrays.kbar.empty()) {
    const LayerKbar &kbar = file.arrays.kbar[row];
    if (kbar.num_kv_heads != problem.num_kv_heads || kbar.head_dim != problem.head_dim) {
      refuse(fmt::format("kbar is of {} KV heads of {} channels; the input has {} of {}", kbar.num_kv_heads,
                         kbar.head_dim, problem.num_kv_heads, problem.head_dim));
    }
    policy.kbar = kbar.values;
  }
  if (!file.arrays.projection.empty()) {
    const LayerProjection &projection = file.arrays.projection[row];
    if (projection.num_kv_heads != problem.num_kv_heads || projection.head_dim != problem.head_dim ||
        projection.estimate_dim != policy.estimate_dim) {
      refuse(fmt::format("the projection is of {} KV heads, to {} of {} channels; the input has {} KV heads of {} "
                         "channels, and the policy's estimate_dim is {}",
                         projection.num_kv_heads, projection.estimate_dim, projection.head_dim, problem.num_kv_heads,
                         problem.head_dim, policy.estimate_dim));
    }
    policy.projection = projection.values;
  }
  for (std::size_t head = 0; !file.channels.empty() && head < file.channels[row].size(); ++head) {
    const std::vector<int> &channels = file.channels[row][head];
    policy.channels.insert(policy.channels.end(), channels.begin(), channels.end());
  }
  return policy;
}

void add_layer(PolicyFile &file, int layer, const Policy &policy, int num_q_heads, int head_dim) {
  file.layers.push_back(layer);
  file.tau.push_back(policy.tau_per_head.empty() ? std::vector<float>(num_q_heads, policy.tau) : policy.tau_per_head);
  if (!policy.shift_per_head.empty()) {
    file.shift.push_back(policy.shift_per_head);
  }
  if (!policy.channels.empty()) {
    std::vector<std::vector<int>> &channels = file.channels.emplace_back();
    for (auto first = policy.channels.begin(); first != policy.channels.end(); first += policy.estimate_dim) {
      channels.emplace_back(first, first + policy.estimate_dim);
    }
  }
  if (!policy.projection.empty()) {
    const auto size = static_cast<int>(policy.projection.size());
    file.arrays.projection.push_back(
        {size / (2 * policy.estimate_dim * head_dim), policy.estimate_dim, head_dim, policy.projection});
  }
  if (!policy.kbar.empty()) {
    file.arrays.kbar.push_back({static_cast<int>(policy.kbar.size()) / head_dim, head_dim, policy.kbar});
  }
}

std::string policy_file_text(const PolicyFile &file, const std::string &comment) {
  std::string text;
  std::istringstream lines(comment);
  for (std::string line; std::getline(lines, line);) {
    text += fmt::format("# {}\n", line);
  }
  text += fmt::format("schema: {}\n", schema);
  if (!file.model.empty()) {
    text += fmt::format("model: {}\n", YAML::Dump(YAML::Node(file.model)));
  }
  text += fmt::format("policy:\n  estimator: {}\n", to_string(file.policy.estimator));
  Policy policy = file.policy;
  for_each_number(policy, [&](const char *key, int value) { text += fmt::format("  {}: {}\n", key, value); });
  for_each_switch(policy, [&](const char *key, bool value) { text += fmt::format("  {}: {}\n", key, value); });
  text += fmt::format("layers: [{}]\n", fmt::join(file.layers, ", "));
  const auto add_table = [&](const char *name, const std::vector<std::vector<float>> &table) {
    text += table.empty() ? "" : fmt::format("{}:\n", name);
    for (const std::vector<float> &heads : table) {
      text += fmt::format("  - [{}]\n", fmt::join(heads, ", "));
    }
  };
  add_table("tau", file.tau);
  add_table("shift", file.shift);
  text += file.tensors.empty() ? "" : fmt::format("tensors: {}\n", YAML::Dump(YAML::Node(file.tensors)));
  text += file.channels.empty() ? "" : "channels:\n";
  for (const std::vector<std::vector<int>> &layer : file.channels) {
    for (std::size_t head = 0; head < layer.size(); ++head) {
      text += fmt::format("  {} - [{}]\n", head == 0 ? '-' : ' ', fmt::join(layer[head], ", "));
    }
  }
  return text;
}

} // namespace sale::io
