// SPDX-License-Identifier: Apache-2.0
#include "io/policy_tensors.hpp"

#include "io/safetensors.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

namespace sale::io {

namespace {

std::string tensor_name(int layer) { return fmt::format("projection.{}", layer); }

LayerProjection load_projection(SafetensorsReader &reader, int layer) {
  const TensorEntry &tensor = reader.find(tensor_name(layer));
  const auto refuse = [&](const std::string &sentence) {
    throw Error(ErrorKind::io, fmt::format("{}: tensor {} {}", reader.file_name(), tensor.name, sentence));
  };
  const std::vector<std::uint64_t> &shape = tensor.shape;
  constexpr std::uint64_t most = 1 << 20; // of an extent: each fits an int
  const bool small = std::all_of(shape.begin(), shape.end(), [](std::uint64_t x) { return x > 0 && x <= most; });
  if (tensor.dtype != "F32" || shape.size() != 4 || shape[1] != 2 || !small) {
    refuse(fmt::format("is {} {}; it must be F32 [num_kv_heads, 2, estimate_dim, head_dim]", tensor.dtype,
                       shape_text(shape)));
  }
  LayerProjection projection{static_cast<int>(shape[0]), static_cast<int>(shape[2]), static_cast<int>(shape[3]), {}};
  projection.values.resize(tensor.bytes / sizeof(float));
  reader.read(tensor, std::as_writable_bytes(std::span(projection.values)));
  if (!std::all_of(projection.values.begin(), projection.values.end(), [](float x) { return std::isfinite(x); })) {
    refuse("has an infinity or a NaN; every entry must be a finite number");
  }
  return projection;
}

} // namespace

std::vector<LayerProjection> load_projections(const std::filesystem::path &path, const std::vector<int> &layers) {
  SafetensorsReader reader(path);
  for (const TensorEntry &tensor : reader.header().tensors) {
    if (std::none_of(layers.begin(), layers.end(), [&](int layer) { return tensor.name == tensor_name(layer); })) {
      throw Error(ErrorKind::io, fmt::format("{}: tensor {} is not known; the policy file's layers want projection.L, "
                                             "for every layer L",
                                             reader.file_name(), tensor.name));
    }
  }
  std::vector<LayerProjection> projections;
  projections.reserve(layers.size());
  for (const int layer : layers) {
    projections.push_back(load_projection(reader, layer));
  }
  return projections;
}

void write_projections(const std::filesystem::path &path, const std::vector<int> &layers,
                       const std::vector<LayerProjection> &projections) {
  std::vector<TensorToWrite> tensors;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const LayerProjection &projection = projections[i];
    const auto extent = [](int x) { return static_cast<std::uint64_t>(x); };
    tensors.push_back(
        {tensor_name(layers[i]),
         "F32",
         {extent(projection.num_kv_heads), 2, extent(projection.estimate_dim), extent(projection.head_dim)},
         std::as_bytes(std::span(projection.values))});
  }
  write_safetensors(path, tensors);
}

} // namespace sale::io
