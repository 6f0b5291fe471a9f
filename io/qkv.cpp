// SPDX-License-Identifier: Apache-2.0
#include "io/qkv.hpp"

#include "io/safetensors.hpp"
#include "reference/element.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <limits>

namespace sale::io {

namespace {

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

[[noreturn]] void refuse(const SafetensorsReader &file, const std::string &sentence) {
  throw Error(ErrorKind::invalid_argument, fmt::format("{}: {}", file.file_name(), sentence));
}

const TensorEntry &find_tensor(const SafetensorsReader &file, const char *name, const char *layout) {
  const TensorEntry &tensor = file.find(name);
  if (tensor.dtype != "BF16" && tensor.dtype != "F16") {
    refuse(file, fmt::format("tensor \"{}\" is {}; supported are BF16 and F16", name, tensor.dtype));
  }
  if (tensor.shape.size() != 4) {
    refuse(file, fmt::format("tensor \"{}\" has the shape {}; it must be {}", name, shape_text(tensor.shape), layout));
  }
  for (const std::uint64_t extent : tensor.shape) {
    if (extent == 0 || extent > std::numeric_limits<int>::max()) {
      refuse(file, fmt::format("tensor \"{}\" has the shape {}; every extent must be between 1 and {}", name,
                               shape_text(tensor.shape), std::numeric_limits<int>::max()));
    }
  }
  return tensor;
}

void require_same(const SafetensorsReader &file, const TensorEntry &a, const TensorEntry &b, std::size_t axis,
                  const char *what) {
  if (a.shape[axis] != b.shape[axis]) {
    refuse(file, fmt::format("\"{}\" {} and \"{}\" {} must have the same {}", a.name, shape_text(a.shape), b.name,
                             shape_text(b.shape), what));
  }
}

std::vector<std::uint16_t> read_tensor(SafetensorsReader &file, const TensorEntry &tensor) {
  std::vector<std::uint16_t> values(tensor.bytes / sizeof(std::uint16_t));
  file.read(tensor, std::as_writable_bytes(std::span(values)));
  return values;
}

// 0, the default, when the metadata does not say.
float read_softmax_scale(const SafetensorsReader &file) {
  const auto &metadata = file.header().metadata;
  const auto found = metadata.find("softmax_scale");
  if (found == metadata.end()) {
    return 0.0F;
  }
  const std::string &text = found->second;
  float scale = 0.0F;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), scale);
  if (code != std::errc() || stop != text.data() + text.size() || !std::isfinite(scale) || scale <= 0.0F) {
    refuse(file, fmt::format("the metadata's softmax_scale {:?} must be a positive number", text.substr(0, 60)));
  }
  return scale;
}

std::vector<std::uint64_t> extents(std::initializer_list<int> values) { return {values.begin(), values.end()}; }

} // namespace

Qkv load_qkv(const std::filesystem::path &path) {
  SafetensorsReader file(path);
  const TensorEntry &q = find_tensor(file, "q", "[batch, num_q_heads, q_len, head_dim]");
  const TensorEntry &k = find_tensor(file, "k", "[batch, num_kv_heads, kv_len, head_dim]");
  const TensorEntry &v = find_tensor(file, "v", "[batch, num_kv_heads, kv_len, v_head_dim]");
  if (q.dtype != k.dtype || q.dtype != v.dtype) {
    refuse(file,
           fmt::format("q is {}, k is {} and v is {}; all three must have the same dtype", q.dtype, k.dtype, v.dtype));
  }
  require_same(file, q, k, 0, "batch (first extent)");
  require_same(file, q, k, 3, "head_dim (last extent)");
  for (std::size_t axis = 0; axis < 3; ++axis) {
    require_same(file, k, v, axis, "shape but for the last extent");
  }

  Qkv qkv;
  qkv.problem.dtype = q.dtype == "BF16" ? DType::bf16 : DType::f16;
  qkv.problem.head_dim = static_cast<int>(q.shape[3]);
  qkv.problem.v_head_dim = v.shape[3] == q.shape[3] ? 0 : static_cast<int>(v.shape[3]);
  qkv.problem.num_q_heads = static_cast<int>(q.shape[1]);
  qkv.problem.num_kv_heads = static_cast<int>(k.shape[1]);
  qkv.problem.softmax_scale = read_softmax_scale(file);
  qkv.metadata = file.header().metadata;
  qkv.shape.batch = static_cast<int>(q.shape[0]);
  qkv.shape.q_len = static_cast<int>(q.shape[2]);
  qkv.shape.kv_len = static_cast<int>(k.shape[2]);
  try {
    validate(qkv.problem);
    validate(qkv.shape);
  } catch (const Error &error) {
    refuse(file, error.what());
  }
  qkv.q = read_tensor(file, q);
  qkv.k = read_tensor(file, k);
  qkv.v = read_tensor(file, v);
  return qkv;
}

reference::Tensors to_tensors(const Qkv &qkv) {
  reference::Tensors tensors = reference::describe_tensors(qkv.problem, qkv.shape);
  tensors.q = reference::to_floats(qkv.q, qkv.problem.dtype);
  tensors.k = reference::to_floats(qkv.k, qkv.problem.dtype);
  tensors.v = reference::to_floats(qkv.v, qkv.problem.dtype);
  return tensors;
}

void write_result(const std::filesystem::path &path, const Problem &problem, const Shape &shape,
                  std::span<const std::uint16_t> out, std::span<const float> lse, const reference::Mask &mask) {
  const std::vector<std::uint8_t> mask_bytes = mask.file_bytes();
  write_safetensors(
      path,
      {{"out", problem.dtype == DType::bf16 ? "BF16" : "F16",
        extents({shape.batch, problem.num_q_heads, shape.q_len, effective_v_head_dim(problem)}), std::as_bytes(out)},
       {"lse", "F32", extents({shape.batch, problem.num_q_heads, shape.q_len}), std::as_bytes(lse)},
       {"mask", "U8", extents({mask.batch(), mask.num_q_heads(), mask.q_blocks(), (mask.k_blocks() + 7) / 8}),
        std::as_bytes(std::span(mask_bytes))}});
}

} // namespace sale::io
