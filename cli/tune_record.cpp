// SPDX-License-Identifier: Apache-2.0
#include "cli/tune_record.hpp"

#include "autotune/record/edit.hpp"
#include "autotune/record/layers.hpp"
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "sale/tuning.hpp"

#include <fmt/format.h>

#include <utility>

namespace sale::cli {

namespace fs = std::filesystem;

fs::path tuning_output(const std::string &asked) {
  const fs::path file = asked.empty() ? autotune::user_tuning_file() : fs::absolute(asked);
  if (asked.empty()) { // the user's own folder may be made, others are to be there
    std::error_code problem;
    fs::create_directories(file.parent_path(), problem);
  }
  require_writable_path(file);
  return file;
}

std::vector<TuningRecord> earlier_records(const std::string &start_from, const fs::path &output) {
  std::vector<TuningRecord> records;
  if (start_from == "layers") {
    // Those of another libsale too: what they name is tried, not trusted.
    for (autotune::LayerRecord &layer : autotune::read_layers({})) {
      if (layer.record) {
        records.push_back(std::move(*layer.record));
      }
    }
  } else if (start_from != "none") {
    records.push_back(*load_tuning(start_from));
  }
  std::error_code none;
  if (start_from != "none" && fs::is_regular_file(output, none)) {
    records.push_back(*load_tuning(output));
  }
  return records;
}

void add_to_record(const fs::path &file, const GpuTuning &gpu) {
  TuningRecord record = empty_record();
  record.gpus.push_back(gpu);
  autotune::sort_record(record);
  if (const auto kept = autotune::add_to_record(file, record)) {
    warn(fmt::format("{} was measured with other kernels; it is now {}", file.string(), kept->string()));
  }
}

} // namespace sale::cli
