// SPDX-License-Identifier: Apache-2.0
// Where tuning records are: shipped with the library, then a system's, then a user's. Later ones override earlier ones,
// kernel by kernel.
#pragma once

#include "generator/tuning.hpp"
#include "sale/tuning.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace sale::autotune {

struct EmbeddedRecord {
  const char *name;
  const char *text;
};

/// autotune/record/shipped/*.yaml, by name.
const std::vector<EmbeddedRecord> &embedded_records();

/// One file of a layer.
struct LayerRecord {
  std::string layer; ///< "shipped", "system", "user"
  std::string file;
  std::optional<TuningRecord> record; ///< Nothing where it cannot be read.
  std::string problem;                ///< Why it is not used, if so.
};

/// Where a layer's files are; empty where the environment names no folder.
std::filesystem::path system_tuning_folder(const TuningLayers &layers);
std::filesystem::path user_tuning_folder(const TuningLayers &layers);

/// All of them, in the order in which they override each other. Folders that are not there have none. What cannot be
/// read, or is of another libsale's kernels, has a problem; nothing is thrown.
std::vector<LayerRecord> read_layers(const TuningLayers &layers);

/// The file in the user's folder that `sale tune` adds to. Throws Error(invalid_argument) without such a folder.
std::filesystem::path user_tuning_file(const TuningLayers &layers = {});

/// Makes the folder and the file, or replaces the file, whole or not at all. Throws Error(io).
void write_record(const std::filesystem::path &file, const TuningRecord &record);

/// Merges into what the file has. If that is of another libsale's kernels, it is kept beside it under another name,
/// which is returned; else nothing is.
std::optional<std::filesystem::path> add_to_record(const std::filesystem::path &file, const TuningRecord &record);

} // namespace sale::autotune
