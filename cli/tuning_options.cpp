// SPDX-License-Identifier: Apache-2.0
#include "cli/tuning_options.hpp"

#include "cli/command.hpp"
#include "sale/tuning.hpp"

namespace sale::cli {

void TuningOptions::add_to(CLI::App &app) {
  app.add_option("--tuning", tuning,
                 "Tiles from this tuning record; layers: the shipped, the system's and the user's (docs/tuning.md); "
                 "none: default tiles")
      ->check(CLI::IsMember({layers, none}) | CLI::ExistingFile)
      ->envname("SALE_TUNING")
      ->capture_default_str();
}

std::shared_ptr<const TuningRecord> TuningOptions::load() const {
  if (tuning == none) {
    return nullptr;
  }
  if (tuning != layers) {
    return load_tuning(tuning);
  }
  TuningLayers all;
  all.warning = warn;
  return load_tuning_layers(all);
}

} // namespace sale::cli
