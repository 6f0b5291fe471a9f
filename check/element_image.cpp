// SPDX-License-Identifier: Apache-2.0
#include "check/element_image.hpp"

#include "reference/element.hpp"

#include <algorithm>

namespace sale::check {

namespace {

constexpr std::uint16_t poison = 0xffffU; // as GuardedMemory's

} // namespace

Placement place(int batch, int heads, int tokens, int head_dim, RowOrder order, bool gaps) {
  const bool heads_first = order == RowOrder::heads_first;
  const std::int64_t inner = head_dim + (gaps ? 8 : 0);
  const std::int64_t outer = inner * (heads_first ? tokens : heads) + (gaps ? 24 : 0);
  Placement p{heads, tokens, head_dim, 0, 0, 0, 0};
  p.head_stride = heads_first ? outer : inner;
  p.token_stride = heads_first ? inner : outer;
  p.batch_stride = outer * (heads_first ? heads : tokens) + (gaps ? 40 : 0);
  p.elements = static_cast<std::size_t>(p.batch_stride * batch);
  return p;
}

ElementImage::ElementImage(const Placement &placement, DType dtype)
    : placement_(placement), dtype_(dtype), bits_(placement.elements, poison) {}

ElementImage::ElementImage(const Placement &placement, DType dtype, const GuardedMemory &memory)
    : placement_(placement), dtype_(dtype), bits_(memory.read_as<std::uint16_t>(0, placement.elements)) {}

void ElementImage::put_row(int b, int h, int t, const float *values) {
  const auto row = bits_.begin() + placement_.offset(b, h, t);
  std::transform(values, values + placement_.head_dim, row,
                 [&](float value) { return reference::float_to_element(value, dtype_); });
}

void ElementImage::take_row(int b, int h, int t, std::vector<float> &values) {
  const auto row = bits_.begin() + placement_.offset(b, h, t);
  std::transform(row, row + placement_.head_dim, std::back_inserter(values),
                 [&](std::uint16_t bits) { return reference::element_to_float(bits, dtype_); });
  std::fill_n(row, placement_.head_dim, poison);
}

bool ElementImage::is_untouched() const {
  return std::all_of(bits_.begin(), bits_.end(), [](std::uint16_t bits) { return bits == poison; });
}

void ElementImage::write_to(const GuardedMemory &memory) const { memory.write(bits_.data(), bits_.size() * 2); }

} // namespace sale::check
