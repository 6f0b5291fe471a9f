// SPDX-License-Identifier: Apache-2.0
#include "autotune/search/noise.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace sale::autotune {

double median(std::vector<double> values) {
  if (values.empty()) {
    return 0;
  }
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) {
    return *middle;
  }
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

Comparison compare(const std::vector<double> &a, const std::vector<double> &b, double floor) {
  constexpr double sigma_of_mad = 1.4826;
  const double median_error = std::sqrt(std::acos(-1.0) / 2);
  std::vector<double> ratios;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (b[i] > 0) {
      ratios.push_back(a[i] / b[i]);
    }
  }
  if (ratios.empty()) {
    return {1, floor};
  }
  const double middle = median(ratios);
  const double rounds = static_cast<double>(ratios.size());
  for (double &ratio : ratios) {
    ratio = std::abs(ratio - middle);
  }
  const double sigma = sigma_of_mad * median(ratios);
  return {middle, std::max(floor, median_error * sigma / std::sqrt(rounds))};
}

} // namespace sale::autotune
