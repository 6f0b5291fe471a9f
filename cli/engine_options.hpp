// SPDX-License-Identifier: Apache-2.0
// The options that say where libraries and the cache are.
#pragma once

#include "sale/sale.hpp"

#include <CLI/CLI.hpp>

#include <string>

namespace sale::cli {

struct EngineOptions {
  std::string nvrtc;
  std::string cuda_driver;
  std::string cache_dir;
  int jobs = 0;

  // Each command offers those that it heeds.
  void add_cache_dir_to(CLI::App &app);
  void add_nvrtc_to(CLI::App &app);
  void add_driver_to(CLI::App &app);
  void add_jobs_to(CLI::App &app);

  /// Warnings go to standard error.
  Options resolve() const;

  /// The folder that the cache is in; throws Error(invalid_argument) when nothing names one.
  std::filesystem::path cache_folder() const;
};

} // namespace sale::cli
