// SPDX-License-Identifier: Apache-2.0
// What one thing took in each round.
#pragma once

#include <cstddef>
#include <vector>

namespace sale::bench {

class Samples {
public:
  void add(double value) { values_.push_back(value); }
  const std::vector<double> &values() const { return values_; }

  /// 0 where there is no sample.
  double median() const;
  double min() const;
  double max() const;

private:
  std::vector<double> values_;
};

} // namespace sale::bench
