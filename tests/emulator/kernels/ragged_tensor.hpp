// SPDX-License-Identifier: Apache-2.0
// A random bf16 tensor of a ragged batch, in every way that callers may lay it out, and each sequence's own rows as a
// plain tensor. Everything that belongs to no sequence is NaN.
#pragma once

#include "args/paged_arg.cuh"
#include "common/tensor.cuh"
#include "tests/emulator/kernels/device.hpp"

#include <memory>
#include <vector>

namespace sale::test {

struct Placement {
  enum class Kind { packed, padded, paged };
  Kind kind = Kind::packed;
  int page_size = 0;
  bool heads_inside = false; ///< Pages are [page_size, heads, head_dim] rather than [heads, page_size, head_dim].

  bool paged() const { return kind == Kind::paged; }
  int page_rows() const { return !paged() ? 0 : page_size % 32 == 0 ? 32 : 16; }
};

class RaggedTensor {
public:
  /// max_len: of a padded sequence.
  RaggedTensor(std::vector<int> lens, int heads, int head_dim, int max_len, const Placement &placement, unsigned seed);

  ::TensorArg arg() const { return arg_; }
  /// Entries of the table past a sequence's last page are -1.
  ::PagedArg paged() const { return paged_; }
  /// The page of a sequence's token.
  int page_of(std::size_t sequence, int token) const {
    return pages_[sequence * static_cast<std::size_t>(paged_.table_stride) +
                  static_cast<std::size_t>(token / paged_.page_size)];
  }
  /// A sequence alone: [1, heads, len, head_dim].
  ::TensorArg alone(std::size_t sequence) const;

private:
  void place(const Placement &placement, int max_len);

  std::vector<int> lens_;
  int heads_;
  int head_dim_;
  std::vector<std::vector<std::uint16_t>> rows_; ///< Of each sequence: [heads, len, head_dim].
  std::vector<std::unique_ptr<DeviceBuffer>> alone_;
  std::vector<int> pages_;
  std::unique_ptr<DeviceBuffer> data_, table_;
  ::TensorArg arg_{};
  ::PagedArg paged_{};
};

} // namespace sale::test
