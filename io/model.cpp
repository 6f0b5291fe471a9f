// SPDX-License-Identifier: Apache-2.0
#include "io/model.hpp"

#include "io/names.hpp"
#include "io/yaml.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace sale::io {

namespace {

Model parse_problem(const YamlNode &root, const std::string &file_name, std::optional<DType> dtype) {
  root.require_map({"name", "layers", "dtype", "head_dim", "v_head_dim", "num_q_heads", "num_kv_heads", "causal",
                    "softmax_scale", "sliding_window", "softcap", "sink_logits"});
  const auto integer = [&](const char *key) { return root.at(key).integer(key); };
  Model model;
  const auto name = root.find("name");
  model.name = name ? name->text("name") : file_name;
  if (const auto layers = root.find("layers")) {
    model.layers = layers->integer("layers");
  }
  model.problem.head_dim = integer("head_dim");
  if (const auto v_head_dim = root.find("v_head_dim")) {
    model.problem.v_head_dim = v_head_dim->integer("v_head_dim");
  }
  model.problem.num_q_heads = integer("num_q_heads");
  model.problem.num_kv_heads = integer("num_kv_heads");
  if (const auto causal = root.find("causal")) {
    model.problem.causal = causal->boolean("causal");
  }
  if (const auto scale = root.find("softmax_scale")) {
    model.problem.softmax_scale = scale->number("softmax_scale");
  }
  if (const auto window = root.find("sliding_window")) {
    model.problem.sliding_window = window->integer("sliding_window");
  }
  if (const auto cap = root.find("softcap")) {
    model.problem.softcap = cap->number("softcap");
  }
  if (const auto sinks = root.find("sink_logits")) {
    model.problem.sink_logits = sinks->boolean("sink_logits");
  }
  const YamlNode dtype_node = root.at("dtype");
  try {
    model.problem.dtype = dtype.value_or(parse_dtype(dtype_node.text("dtype")));
    validate(model.problem);
  } catch (const Error &error) {
    throw Error(error.kind(), fmt::format("{}: {}", file_name, error.what()));
  }
  return model;
}

bool is_path(const std::string &name) {
  const auto ends_with = [&](std::string_view end) { return name.size() >= end.size() && name.ends_with(end); };
  return name.find('/') != std::string::npos || ends_with(".json") || ends_with(".yaml") || ends_with(".yml");
}

} // namespace

std::vector<std::string> known_models() {
  std::vector<std::string> names;
  for (const EmbeddedModel &model : embedded_models()) {
    names.emplace_back(model.name);
  }
  return names;
}

Model load_problem(const std::filesystem::path &path, std::optional<DType> dtype) {
  return parse_problem(YamlNode::load(path), path.string(), dtype);
}

Model load_model(const std::string &name_or_path, std::optional<DType> dtype) {
  const auto &models = embedded_models();
  const auto found = std::find_if(models.begin(), models.end(),
                                  [&](const EmbeddedModel &model) { return model.name == name_or_path; });
  if (found != models.end()) {
    const std::string file_name = fmt::format("models/{}.yaml", found->name);
    return parse_problem(YamlNode::parse(std::string(found->yaml), file_name), file_name, dtype);
  }
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(name_or_path, ignored);
  if (!folder && !is_path(name_or_path)) {
    throw Error(
        ErrorKind::invalid_argument,
        fmt::format("unknown model {:?}; known are {}, or give the path of a config.json, its folder or a problem YAML",
                    name_or_path, fmt::join(known_models(), ", ")));
  }
  const std::filesystem::path path =
      folder ? std::filesystem::path(name_or_path) / "config.json" : std::filesystem::path(name_or_path);
  return path.extension() == ".json" ? parse_config_json(read_text_file(path), path.string(), dtype)
                                     : load_problem(path, dtype);
}

} // namespace sale::io
