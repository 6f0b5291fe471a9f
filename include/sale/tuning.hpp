// SPDX-License-Identifier: Apache-2.0
// Tuning records for Options::tuning. In the library sale::autotune, which needs yaml-cpp; sale::sale does without.
#pragma once

#include "sale/export.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace sale {

struct TuningRecord;

/// The tiles that were found best on some GPUs. Throws Error(io), or Error(invalid_argument) that says in which line.
SALE_API std::shared_ptr<const TuningRecord> load_tuning(const std::filesystem::path &file);

/// Where records are that nobody names: all *.yaml of two folders, and those that are part of the library.
struct TuningLayers {
  bool shipped = true;
  std::filesystem::path system_dir;                 ///< empty = SALE_SYSTEM_TUNING_DIR, else /var/lib/sale/tuning
  std::filesystem::path user_dir;                   ///< empty = SALE_TUNING_DIR, else XDG_DATA_HOME/sale/tuning, else
                                                    ///< ~/.local/share/sale/tuning
  std::function<void(const std::string &)> warning; ///< of records that are not used; empty = standard error
};

/// The layers as one record: a user's choices for a kernel and GPU before a system's, and those before the shipped
/// ones. A record that is damaged, or of another libsale's kernels, is a warning and not used. Null when none is left.
SALE_API std::shared_ptr<const TuningRecord> load_tuning_layers(const TuningLayers &layers = {});

} // namespace sale
