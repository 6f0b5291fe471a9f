// SPDX-License-Identifier: Apache-2.0
// Densities of exact masks of synthetic data, measured on a GPU: what Structure::sink is tuned with.
#pragma once

#include "sale/sale.hpp"
#include "synth/make.hpp"

#include <memory>
#include <vector>

namespace sale::synth {

/// One length's Q, K and V on the device.
class DeviceDensity {
public:
  /// Throws Error where there is no GPU.
  DeviceDensity(int length, const Options &options);
  ~DeviceDensity();

  /// Per query head, with the fixed seed, at tau 0.004; `structure` may differ from structure_for(length) in its sink
  /// alone.
  std::vector<double> measure(const Structure &structure);

private:
  struct State;
  std::unique_ptr<State> state_;
};

double mean(const std::vector<double> &values);

} // namespace sale::synth
