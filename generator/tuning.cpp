// SPDX-License-Identifier: Apache-2.0
#include "generator/tuning.hpp"

#include "generator/template_source.hpp"
#include "sale/error.hpp"
#include "sale/version.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sale {

namespace {

// The order of a threshold's sum is that of prepare's steps: another would move masks by its rounding.
void require_same_mask(const KernelSpec &spec) {
  const int keys = default_tile(spec).keys_per_step;
  if (spec.stage == Stage::prepare && spec.tile.keys_per_step != keys) {
    throw Error(ErrorKind::invalid_argument, fmt::format("keys_per_step {} of prepare must be {}: masks depend on it",
                                                         spec.tile.keys_per_step, keys));
  }
}

} // namespace

bool is_for_this_library(const TuningRecord &record) {
  return record.library == version() && record.templates == tuned_templates_digest();
}

TuningRecord empty_record() { return {"", version(), std::string(tuned_templates_digest()), {}, false}; }

const GpuTuning *tuning_for(const TuningRecord &record, std::string_view gpu, const Arch &arch, int multiprocessors) {
  const auto found = std::find_if(record.gpus.begin(), record.gpus.end(), [&](const GpuTuning &tuning) {
    return tuning.name == gpu && tuning.arch == arch && tuning.multiprocessors == multiprocessors;
  });
  return found == record.gpus.end() ? nullptr : &*found;
}

std::vector<const GpuTuning *> tunings_for(const TuningRecord &record, std::string_view gpu, const Arch &arch) {
  std::vector<const GpuTuning *> found;
  for (const GpuTuning &tuning : record.gpus) {
    if (tuning.arch == arch && (gpu.empty() || tuning.name == gpu)) {
      found.push_back(&tuning);
    }
  }
  return found;
}

std::vector<TileChoice> choices_for(const TuningRecord &record, const GpuTuning &gpu, const KernelSpec &spec) {
  if (!is_tunable(spec.stage)) {
    return {};
  }
  const std::string kernel = spec.class_name();
  const auto found = std::find_if(gpu.kernels.begin(), gpu.kernels.end(),
                                  [&](const KernelTuning &tuning) { return tuning.kernel == kernel; });
  if (found == gpu.kernels.end()) {
    return {};
  }
  for (const TileChoice &choice : found->choices) {
    KernelSpec chosen = spec;
    chosen.tile = choice.tile;
    try {
      validate(chosen);
      require_same_mask(chosen);
    } catch (const Error &error) {
      throw Error(
          ErrorKind::invalid_argument,
          fmt::format("{}: a tile of \"{}\" for {} is impossible: {}", record.source, kernel, gpu.name, error.what()),
          {.spec = chosen.describe()});
    }
  }
  return found->choices;
}

std::vector<KernelSpec> with_choices(const std::vector<KernelSpec> &specs, const TuningRecord &record,
                                     const std::vector<const GpuTuning *> &gpus) {
  std::vector<KernelSpec> all;
  for (const KernelSpec &spec : specs) {
    const auto first = static_cast<std::ptrdiff_t>(all.size());
    all.push_back(spec);
    for (const GpuTuning *gpu : gpus) {
      for (const TileChoice &choice : choices_for(record, *gpu, spec)) {
        KernelSpec chosen = spec;
        chosen.tile = choice.tile;
        if (std::none_of(all.begin() + first, all.end(),
                         [&](const KernelSpec &known) { return known.tile == chosen.tile; })) {
          all.push_back(chosen);
        }
      }
    }
  }
  return all;
}

} // namespace sale
