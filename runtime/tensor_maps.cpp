// SPDX-License-Identifier: Apache-2.0
#include "runtime/tensor_maps.hpp"

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sale {

namespace {

constexpr int box_channels = 64; // 128 bytes of 16-bit elements
constexpr int max_box_bytes = 128;

template <std::size_t rank>
struct TensorShape {
  std::array<std::uint64_t, rank> dimensions;  // innermost first
  std::array<std::uint64_t, rank - 1> strides; // bytes
  std::array<std::uint32_t, rank> box;
};

template <std::size_t rank>
TensorMap encode(const Driver &driver, const void *data, cu::TensorMapType type, cu::TensorMapSwizzle swizzle,
                 const TensorShape<rank> &shape) {
  // Encoded here and copied: GCC 12 may return a 64-byte aligned type through a slot that is not.
  alignas(TensorMap) std::array<unsigned char, sizeof(TensorMap)> opaque{};
  std::array<std::uint32_t, rank> ones{};
  ones.fill(1);
  const cu::Result result = driver.api.tensor_map_encode(
      opaque.data(), type, rank, const_cast<void *>(data), shape.dimensions.data(), shape.strides.data(),
      shape.box.data(), ones.data(), cu::interleave_none, swizzle, cu::promotion_256, cu::fill_zero);
  if (result != cu::success) {
    driver.check(result, "cuTensorMapEncodeTiled", ErrorKind::launch);
  }
  TensorMap map{};
  std::memcpy(map.opaque, opaque.data(), opaque.size());
  return map;
}

// A dimension of size 1 has no stride that matters; the driver wants a possible one.
std::uint64_t stride_bytes(std::int64_t stride, int count, int head_dim) {
  return 2 * static_cast<std::uint64_t>(count > 1 ? stride : head_dim);
}

int code_box_bytes(int row_bytes) {
  return row_bytes % max_box_bytes == 0 ? max_box_bytes : row_bytes % 64 == 0 ? 64 : 32;
}

cu::TensorMapSwizzle swizzle_of(int box_bytes) {
  return box_bytes == 128 ? cu::swizzle_128 : box_bytes == 64 ? cu::swizzle_64 : cu::swizzle_32;
}

void require_stride(const char *name, const char *which, std::int64_t stride, int count) {
  if (count > 1 && stride <= 0) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{}.{} {} is not positive, which the kernels of sm_90a need", name, which, stride),
                {.advice = "pass a tensor whose dimensions all ascend, or compile for sm_90 (Options.arch)"});
  }
}

} // namespace

void require_mappable(const char *name, const TensorView &view, int batch, int heads, int tokens) {
  require_stride(name, "stride_batch", view.stride_batch, batch);
  require_stride(name, "stride_head", view.stride_head, heads);
  require_stride(name, "stride_token", view.stride_token, tokens);
}

TensorMap map_tensor(const Driver &driver, const TensorView &view, DType dtype, int batch, int heads, int tokens,
                     int head_dim, int box_rows) {
  const auto wide = [](int value) { return static_cast<std::uint64_t>(value); };
  const TensorShape<4> shape = {{wide(head_dim), wide(tokens), wide(heads), wide(batch)},
                                {stride_bytes(view.stride_token, tokens, head_dim),
                                 stride_bytes(view.stride_head, heads, head_dim),
                                 stride_bytes(view.stride_batch, batch, head_dim)},
                                {box_channels, static_cast<std::uint32_t>(box_rows), 1, 1}};
  return encode(driver, view.data, dtype == DType::bf16 ? cu::tensor_map_bf16 : cu::tensor_map_f16, cu::swizzle_128,
                shape);
}

TensorMap map_codes(const Driver &driver, const void *codes, int heads, int rows, int row_bytes, int box_rows) {
  const auto wide = [](int value) { return static_cast<std::uint64_t>(value); };
  const int box_bytes = code_box_bytes(row_bytes);
  const TensorShape<3> shape = {{wide(row_bytes), wide(rows), wide(heads)},
                                {wide(row_bytes), wide(row_bytes) * wide(rows)},
                                {static_cast<std::uint32_t>(box_bytes), static_cast<std::uint32_t>(box_rows), 1}};
  return encode(driver, codes, cu::tensor_map_u8, swizzle_of(box_bytes), shape);
}

TensorMap map_code_pages(const Driver &driver, const void *codes, int pages, int heads, int page_size, int row_bytes,
                         int box_rows) {
  const auto wide = [](int value) { return static_cast<std::uint64_t>(value); };
  const int box_bytes = code_box_bytes(row_bytes);
  const std::uint64_t head_bytes = wide(row_bytes) * wide(page_size);
  const TensorShape<4> shape = {{wide(row_bytes), wide(page_size), wide(heads), wide(pages)},
                                {wide(row_bytes), head_bytes, head_bytes * wide(heads)},
                                {static_cast<std::uint32_t>(box_bytes), static_cast<std::uint32_t>(box_rows), 1, 1}};
  return encode(driver, codes, cu::tensor_map_u8, swizzle_of(box_bytes), shape);
}

} // namespace sale
