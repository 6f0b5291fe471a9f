// SPDX-License-Identifier: Apache-2.0
#include "cli/tune_record.hpp"

#include "autotune/record/record.hpp"
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "sale/error.hpp"
#include "sale/tuning.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace sale::cli {

namespace fs = std::filesystem;

namespace {

fs::path user_record() {
  const auto variable = [](const char *name) -> fs::path {
    const char *value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  fs::path folder = variable("XDG_DATA_HOME");
  if (folder.empty() && !variable("HOME").empty()) {
    folder = variable("HOME") / ".local/share";
  }
  if (folder.empty()) {
    throw Error(ErrorKind::invalid_argument,
                "no folder for the record is known: set HOME, or name a file with --output");
  }
  return folder / "sale" / "tuning.yaml";
}

bool is_there(const fs::path &file) {
  std::error_code none;
  return fs::exists(file, none);
}

// The new kernels in place of the old ones; those of other classes stay.
void put(TuningRecord &record, const GpuTuning &gpu) {
  const auto same = std::find_if(record.gpus.begin(), record.gpus.end(), [&](const GpuTuning &each) {
    return each.name == gpu.name && each.arch == gpu.arch && each.multiprocessors == gpu.multiprocessors;
  });
  if (same == record.gpus.end()) {
    record.gpus.push_back(gpu);
    return;
  }
  same->facts = gpu.facts;
  for (const KernelTuning &kernel : gpu.kernels) {
    const auto known = std::find_if(same->kernels.begin(), same->kernels.end(),
                                    [&](const KernelTuning &each) { return each.kernel == kernel.kernel; });
    if (known == same->kernels.end()) {
      same->kernels.push_back(kernel);
    } else {
      *known = kernel;
    }
  }
}

} // namespace

fs::path tuning_output(const std::string &asked) {
  const fs::path file = asked.empty() ? user_record() : fs::absolute(asked);
  std::error_code problem;
  if (asked.empty()) {
    fs::create_directories(file.parent_path(), problem);
  }
  require_writable_path(file);
  return file;
}

std::vector<TuningRecord> earlier_records(const std::string &start_from) {
  if (start_from == "none") {
    return {};
  }
  if (start_from == "layers") {
    return is_there(user_record()) ? std::vector{*load_tuning(user_record())} : std::vector<TuningRecord>();
  }
  return {*load_tuning(start_from)};
}

void add_to_record(const fs::path &file, const GpuTuning &gpu) {
  TuningRecord record = empty_record();
  if (is_there(file)) {
    TuningRecord there = *load_tuning(file);
    if (is_for_this_library(there)) {
      record = std::move(there);
    } else {
      warn(fmt::format("{} was measured with other kernels; it is replaced", file.string()));
    }
  }
  put(record, gpu);
  write_text(file.string(), autotune::record_text(record));
}

} // namespace sale::cli
