// SPDX-License-Identifier: Apache-2.0
// The host's picture of a tensor of 16-bit elements in device memory: where its rows lie, and NaN wherever none does.
#pragma once

#include "check/guarded_memory.hpp"
#include "sale/sale.hpp"

#include <cstdint>
#include <vector>

namespace sale::check {

/// How [batch, heads, tokens, head_dim] lies in memory, or [pages, heads, page_size, head_dim]; strides in elements.
struct Placement {
  int heads, tokens, head_dim;
  std::int64_t batch_stride, head_stride, token_stride;
  std::size_t elements;

  std::int64_t offset(int b, int h, int t) const { return b * batch_stride + h * head_stride + t * token_stride; }
  TensorView view(const GuardedMemory &memory) const {
    return {memory.data(), batch_stride, head_stride, token_stride};
  }
};

enum class RowOrder { heads_first, tokens_first };

/// With gaps, there is unused memory after each row, token or head, and batch entry.
Placement place(int batch, int heads, int tokens, int head_dim, RowOrder order, bool gaps);

class ElementImage {
public:
  /// NaN everywhere.
  ElementImage(const Placement &placement, DType dtype);
  /// What the memory holds.
  ElementImage(const Placement &placement, DType dtype, const GuardedMemory &memory);

  void put_row(int b, int h, int t, const float *values);
  /// Appends the row to `values` and leaves NaN in its place.
  void take_row(int b, int h, int t, std::vector<float> &values);
  /// Nothing but the NaN that was there at first.
  bool is_untouched() const;
  void write_to(const GuardedMemory &memory) const;

private:
  Placement placement_;
  DType dtype_;
  std::vector<std::uint16_t> bits_;
};

} // namespace sale::check
