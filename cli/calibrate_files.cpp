// SPDX-License-Identifier: Apache-2.0
#include "cli/calibrate_files.hpp"

#include "io/qkv.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <charconv>
#include <utility>

namespace sale::cli {

namespace {

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

std::optional<int> layer_of(const io::Qkv &qkv) {
  const auto found = qkv.metadata.find("layer");
  if (found == qkv.metadata.end()) {
    return std::nullopt;
  }
  int layer = 0;
  const std::string &text = found->second;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), layer);
  return code == std::errc() && stop == text.data() + text.size() && layer >= 0 ? std::optional(layer) : std::nullopt;
}

/// Files by layer: what their metadata says, else each file is one layer, in the order given.
std::map<int, std::vector<std::string>> by_layer(const std::vector<std::string> &files) {
  std::map<int, std::vector<std::string>> layers;
  int unnamed = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::optional<int> layer = layer_of(io::load_qkv(files[i]));
    unnamed += layer ? 0 : 1;
    layers[layer.value_or(static_cast<int>(i))].push_back(files[i]);
  }
  if (unnamed != 0 && unnamed != static_cast<int>(files.size())) {
    refuse("some files say in their metadata which layer they are of and some do not; give files of one kind");
  }
  return layers;
}

} // namespace

std::map<int, LayerFiles> sort_files(const std::vector<std::string> &samples, const std::vector<std::string> &judging) {
  std::map<int, LayerFiles> layers;
  for (auto &[layer, files] : by_layer(samples)) {
    layers[layer].files = std::move(files);
  }
  for (auto &[layer, files] : by_layer(judging)) {
    if (layers.count(layer) == 0) {
      refuse(fmt::format("{} judges layer {}, which no file calibrates", files.front(), layer));
    }
    layers[layer].judges = std::move(files);
  }
  for (const auto &[layer, files] : layers) {
    if (!judging.empty() && files.judges.empty()) {
      refuse(fmt::format("no file judges layer {}; give one with --judge, or no --judge at all", layer));
    }
  }
  return layers;
}

std::vector<reference::Tensors> load_samples(const std::vector<std::string> &files, std::optional<Problem> &problem) {
  std::vector<reference::Tensors> inputs;
  for (const std::string &file : files) {
    const io::Qkv qkv = io::load_qkv(file);
    if (!problem) {
      problem = qkv.problem;
    }
    if (effective_softmax_scale(qkv.problem) != effective_softmax_scale(*problem)) {
      refuse(fmt::format("{}: its softmax scale {} is not the {} of the other files", file,
                         effective_softmax_scale(qkv.problem), effective_softmax_scale(*problem)));
    }
    inputs.push_back(io::to_tensors(qkv));
  }
  return inputs;
}

} // namespace sale::cli
