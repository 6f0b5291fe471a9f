// SPDX-License-Identifier: Apache-2.0
// Exact attention of one query block, key block by key block, so that a mask's output is a sum over its blocks.
#pragma once

#include "reference/tensors.hpp"
#include "sale/types.hpp"

#include <cstddef>
#include <vector>

namespace sale {

/// Causal. Nothing is divided by a row's mass: whoever adds blocks up divides by the mass that they added up.
class PartialAttention {
public:
  PartialAttention(const reference::Tensors &tensors, const Policy &policy, float scale, int b, int h, int query_block);

  int rows() const { return rows_; }
  int blocks() const { return blocks_; } ///< Key blocks [0, blocks()) are visible.
  int width() const { return dim_; }     ///< Of an output row.
  double mass(int block, int row) const { return mass_[index(block, row)]; }
  /// [width()]
  const double *out(int block, int row) const { return out_.data() + index(block, row) * dim_; }

  /// Adds the kept blocks of a row up: its output, not divided by the mass that is returned.
  template <class Keeps>
  double gather(int row, Keeps keeps, std::vector<double> &sum) const {
    sum.assign(dim_, 0.0);
    double total = 0.0;
    for (int block = 0; block < blocks_; ++block) {
      if (keeps(block)) {
        total += mass(block, row);
        for (int d = 0; d < dim_; ++d) {
          sum[d] += out(block, row)[d];
        }
      }
    }
    return total;
  }

private:
  std::size_t index(int block, int row) const { return static_cast<std::size_t>(block) * rows_ + row; }

  int dim_; // of the output
  int rows_;
  int blocks_;
  std::vector<double> mass_; // [block, row]
  std::vector<double> out_;  // [block, row, dim_]
};

} // namespace sale
