// SPDX-License-Identifier: Apache-2.0
#include "io/policy_tensors.hpp"

#include "io/safetensors.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>

namespace sale::io {

namespace {

constexpr std::string_view projection_kind = "projection";
constexpr std::string_view kbar_kind = "kbar";

std::string tensor_name(std::string_view kind, int layer) { return fmt::format("{}.{}", kind, layer); }

// `fits`: whether the extents are as many as `meaning` names, and those that are fixed are so.
std::vector<float> load_values(SafetensorsReader &reader, const TensorEntry &tensor, bool fits,
                               std::string_view meaning) {
  const auto refuse = [&](const std::string &sentence) {
    throw Error(ErrorKind::io, fmt::format("{}: tensor {} {}", reader.file_name(), tensor.name, sentence));
  };
  const std::vector<std::uint64_t> &shape = tensor.shape;
  constexpr std::uint64_t most = 1 << 20; // of an extent: each fits an int
  const bool small = std::all_of(shape.begin(), shape.end(), [](std::uint64_t x) { return x > 0 && x <= most; });
  if (tensor.dtype != "F32" || !fits || !small) {
    refuse(fmt::format("is {} {}; it must be F32 {}", tensor.dtype, shape_text(shape), meaning));
  }
  std::vector<float> values(tensor.bytes / sizeof(float));
  reader.read(tensor, std::as_writable_bytes(std::span(values)));
  if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); })) {
    refuse("has an infinity or a NaN; every entry must be a finite number");
  }
  return values;
}

int extent(const TensorEntry &tensor, std::size_t i) { return static_cast<int>(tensor.shape[i]); }

LayerProjection load_projection(SafetensorsReader &reader, int layer) {
  const TensorEntry &tensor = reader.find(tensor_name(projection_kind, layer));
  std::vector<float> values = load_values(reader, tensor, tensor.shape.size() == 4 && tensor.shape[1] == 2,
                                          "[num_kv_heads, 2, estimate_dim, head_dim]");
  return {extent(tensor, 0), extent(tensor, 2), extent(tensor, 3), std::move(values)};
}

LayerKbar load_kbar(SafetensorsReader &reader, int layer) {
  const TensorEntry &tensor = reader.find(tensor_name(kbar_kind, layer));
  std::vector<float> values = load_values(reader, tensor, tensor.shape.size() == 2, "[num_kv_heads, head_dim]");
  return {extent(tensor, 0), extent(tensor, 1), std::move(values)};
}

} // namespace

PolicyTensors load_policy_tensors(const std::filesystem::path &path, const std::vector<int> &layers) {
  SafetensorsReader reader(path);
  bool has_projection = false;
  bool has_kbar = false;
  for (const TensorEntry &tensor : reader.header().tensors) {
    const auto is = [&](std::string_view kind) {
      return std::any_of(layers.begin(), layers.end(),
                         [&](int layer) { return tensor.name == tensor_name(kind, layer); });
    };
    if (!is(projection_kind) && !is(kbar_kind)) {
      throw Error(ErrorKind::io,
                  fmt::format("{}: tensor {} is not known; the policy file's layers want projection.L or "
                              "kbar.L, for every layer L",
                              reader.file_name(), tensor.name));
    }
    has_projection |= is(projection_kind);
    has_kbar |= is(kbar_kind);
  }
  if (!has_projection && !has_kbar) {
    throw Error(ErrorKind::io,
                fmt::format("{} has no tensor; the policy file's layers want projection.L or kbar.L, for "
                            "every layer L",
                            reader.file_name()));
  }
  PolicyTensors tensors;
  for (const int layer : layers) {
    if (has_projection) {
      tensors.projection.push_back(load_projection(reader, layer));
    }
    if (has_kbar) {
      tensors.kbar.push_back(load_kbar(reader, layer));
    }
  }
  return tensors;
}

void write_policy_tensors(const std::filesystem::path &path, const std::vector<int> &layers,
                          const PolicyTensors &tensors) {
  const auto size = [](int x) { return static_cast<std::uint64_t>(x); };
  std::vector<TensorToWrite> all;
  for (std::size_t i = 0; i < tensors.projection.size(); ++i) {
    const LayerProjection &each = tensors.projection[i];
    all.push_back({tensor_name(projection_kind, layers[i]),
                   "F32",
                   {size(each.num_kv_heads), 2, size(each.estimate_dim), size(each.head_dim)},
                   std::as_bytes(std::span(each.values))});
  }
  for (std::size_t i = 0; i < tensors.kbar.size(); ++i) {
    const LayerKbar &each = tensors.kbar[i];
    all.push_back({tensor_name(kbar_kind, layers[i]),
                   "F32",
                   {size(each.num_kv_heads), size(each.head_dim)},
                   std::as_bytes(std::span(each.values))});
  }
  write_safetensors(path, all);
}

} // namespace sale::io
