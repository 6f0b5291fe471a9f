// SPDX-License-Identifier: Apache-2.0
// What a model fixes about its attention: from models/*.yaml (built into the binary), a YAML problem file, or a Hugging
// Face config.json as it stands.
#pragma once

#include "sale/types.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sale::io {

struct Model {
  std::string name;
  int layers = 0; ///< 0 = not said
  Problem problem;
};

/// Names of the models that are built in, ascending.
std::vector<std::string> known_models();

/// A built-in name, or a path (anything with a '/' or ending in .json or .yaml); a folder means its config.json.
/// `dtype` overrides the model's own.
Model load_model(const std::string &name_or_path, std::optional<DType> dtype = {});

/// A YAML file with dtype, head_dim, num_q_heads, num_kv_heads and optionally name, layers, v_head_dim, causal,
/// softmax_scale, sliding_window, softcap, sink_logits.
Model load_problem(const std::filesystem::path &path, std::optional<DType> dtype = {});

/// A Hugging Face config.json.
Model parse_config_json(const std::string &text, const std::string &file_name, std::optional<DType> dtype = {});

/// The files of models/, embedded at build time.
struct EmbeddedModel {
  std::string_view name;
  std::string_view yaml;
};
const std::vector<EmbeddedModel> &embedded_models();

} // namespace sale::io
