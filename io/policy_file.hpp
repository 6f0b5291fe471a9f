// SPDX-License-Identifier: Apache-2.0
// The policy of a whole model, layer by layer, as `sale calibrate` writes it (docs/calibrate.md). YAML: schema, model,
// policy{...}, layers[], tau[layer][query head], shift[layer][query head], channels[layer][KV head][entry],
// tensors (the name of a file beside it: io/policy_tensors.hpp).
#pragma once

#include "io/policy_tensors.hpp"
#include "sale/types.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace sale::io {

struct PolicyFile {
  std::string file_name;
  std::string model;
  Policy policy;           ///< what the file's `policy` says, defaults elsewhere; no per-head values
  std::vector<int> layers; ///< the model's layer that each row below is of
  std::vector<std::vector<float>> tau;
  std::vector<std::vector<float>> shift;               ///< empty = 0 everywhere
  std::vector<std::vector<std::vector<int>>> channels; ///< empty = all, or by energy in each call
  std::string tensors;  ///< the name of the file that holds `arrays`, in the same folder; empty = none
  PolicyTensors arrays; ///< of each row
};

PolicyFile load_policy_file(const std::filesystem::path &path);

/// The policy of one layer. `layer` may be left out when the file has only one.
Policy layer_policy(const PolicyFile &file, std::optional<int> layer, const Problem &problem);

/// One more row, of which layer_policy makes this policy again. `file.policy` has to be set.
void add_layer(PolicyFile &file, int layer, const Policy &policy, int num_q_heads, int head_dim);

/// What load_policy_file reads, but for `arrays`, which are for write_policy_tensors; every line of `comment` becomes a
/// YAML comment at the top.
std::string policy_file_text(const PolicyFile &file, const std::string &comment);

} // namespace sale::io
