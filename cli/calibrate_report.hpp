// SPDX-License-Identifier: Apache-2.0
// What sale calibrate --bound says of the thresholds that it found: table, summary and JSON.
#pragma once

#include "calibrate/tau.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace sale::cli {

struct TauLayer {
  int layer = 0;
  LayerTau calibration;
};

/// "mean L1 <= 0.4 and rel-L1 <= 0.05", as far as there is a bound.
std::string bound_text(const ErrorBound &bound);

/// One row per head, on the judging part alone.
std::string tau_table(const TauLayer &layer, const ErrorBound &bound);

std::string tau_summary(const std::vector<TauLayer> &layers, const ErrorBound &bound);

nlohmann::ordered_json tau_json(const std::vector<TauLayer> &layers, const ErrorBound &bound);

} // namespace sale::cli
