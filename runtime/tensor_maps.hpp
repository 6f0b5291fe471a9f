// SPDX-License-Identifier: Apache-2.0
// The tensor maps that kernels of the wgmma family load through (CUDA driver API, "Tensor Map Object Management").
// Encoding is host work only: no allocation, no stream.
#pragma once

#include "common/tensor_map.cuh"
#include "runtime/driver.hpp"
#include "sale/sale.hpp"

namespace sale {

/// Throws Error(invalid_argument) when no tensor map can describe the view: strides must not be negative and, where
/// there is more than one element, not 0.
void require_mappable(const char *name, const TensorView &view, int batch, int heads, int tokens);

/// Boxes of 64 channels x `box_rows` tokens of a 16-bit tensor [batch, heads, tokens, head_dim], swizzled by 128 bytes;
/// what lies outside reads as zero.
TensorMap map_tensor(const Driver &driver, const TensorView &view, DType dtype, int batch, int heads, int tokens,
                     int head_dim, int box_rows);

/// Boxes of at most 128 bytes x `box_rows` rows of bytes [heads, rows, row_bytes], densely packed; swizzled by the
/// largest power of two up to 128 that divides row_bytes.
TensorMap map_codes(const Driver &driver, const void *codes, int heads, int rows, int row_bytes, int box_rows);

/// The same of bytes [pages, heads, page_size, row_bytes], densely packed.
TensorMap map_code_pages(const Driver &driver, const void *codes, int pages, int heads, int page_size, int row_bytes,
                         int box_rows);

} // namespace sale
