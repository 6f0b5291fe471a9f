// SPDX-License-Identifier: Apache-2.0
// Which tuning record a command takes its tiles from: --tuning.
#pragma once

#include "sale/sale.hpp"

#include <CLI/CLI.hpp>

#include <memory>
#include <string>

namespace sale::cli {

struct TuningOptions {
  static constexpr const char *layers = "layers";
  static constexpr const char *none = "none";

  std::string tuning = layers; ///< Or a file.

  void add_to(CLI::App &app);

  /// Null for none, and where no layer has one. What the layers cannot use is a warning on standard error.
  std::shared_ptr<const TuningRecord> load() const;
};

} // namespace sale::cli
