// SPDX-License-Identifier: Apache-2.0
#include "runtime/tuned_tiles.hpp"

#include "runtime/callbacks.hpp"
#include "sale/version.hpp"

#include <fmt/format.h>

namespace sale {

namespace {

std::string of_other_kernels(const TuningRecord &record) {
  return fmt::format("{} was measured with other kernels (libsale {}, templates {}) than those of this libsale {}",
                     record.source, record.library, record.templates, version());
}

} // namespace

TunedTiles::TunedTiles(std::shared_ptr<const TuningRecord> record, const std::string &gpu, const Arch &arch,
                       int multiprocessors, const std::function<void(const std::string &)> &warn)
    : record_(std::move(record)), warn_(warn) {
  if (record_ == nullptr) {
    return;
  }
  if (!is_for_this_library(*record_)) {
    warn(fmt::format("{}; default tiles are used", of_other_kernels(*record_)));
  } else if (const GpuTuning *found = tuning_for(*record_, gpu, arch, multiprocessors)) {
    gpus_.push_back(found);
  } else if (!record_->optional) {
    warn(fmt::format("{} has nothing for {} ({}, {} multiprocessors); default tiles are used", record_->source, gpu,
                     arch.name(), multiprocessors));
  }
}

TunedTiles::TunedTiles(const Options &options, const std::vector<Arch> &archs)
    : record_(options.tuning), warn_([callbacks = std::make_shared<const Callbacks>(options)](
                                         const std::string &sentence) { callbacks->warn(sentence); }) {
  if (record_ == nullptr) {
    return;
  }
  if (!is_for_this_library(*record_)) {
    throw Error(ErrorKind::invalid_argument, of_other_kernels(*record_), {.advice = "measure anew with this version"});
  }
  for (const Arch &arch : archs) {
    const std::vector<const GpuTuning *> found = tunings_for(*record_, options.tuning_gpu, arch);
    gpus_.insert(gpus_.end(), found.begin(), found.end());
  }
  if (gpus_.empty() && !options.tuning_gpu.empty() && !record_->optional) {
    std::string known;
    for (const GpuTuning &gpu : record_->gpus) {
      known += fmt::format("{}{} ({})", known.empty() ? "" : ", ", gpu.name, gpu.arch.name());
    }
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} has nothing for {} and the architectures asked for; it has {}", record_->source,
                            options.tuning_gpu, known.empty() ? "no GPU" : known));
  }
}

std::vector<KernelSpec> TunedTiles::with_choices(const std::vector<KernelSpec> &specs) const {
  if (gpus_.empty()) {
    return specs;
  }
  std::vector<KernelSpec> all;
  for (const KernelSpec &spec : specs) {
    std::vector<KernelSpec> tiles = {spec};
    try {
      tiles = sale::with_choices(tiles, *record_, gpus_);
    } catch (const Error &error) {
      if (!record_->optional) {
        throw;
      }
      warn_(fmt::format("{}; its default tile is used", error.what()));
    }
    all.insert(all.end(), tiles.begin(), tiles.end());
  }
  return all;
}

std::vector<TileChoice> TunedTiles::choices(const KernelSpec &spec) const {
  if (gpus_.empty()) {
    return {};
  }
  try {
    return choices_for(*record_, *gpus_.front(), spec);
  } catch (const Error &) {
    if (!record_->optional) {
      throw;
    }
    return {}; // with_choices has warned
  }
}

std::string TunedTiles::prewarm_words() const {
  const auto quoted = [](std::string text) {
    for (std::size_t at = 0; (at = text.find('\'', at)) != std::string::npos; at += 4) {
      text.replace(at, 1, "'\\''");
    }
    return '\'' + text + '\'';
  };
  if (gpus_.empty()) {
    return " --tuning none"; // which a host that has records would add to otherwise
  }
  return fmt::format(" --tuning {} --gpu {}", record_->optional ? "layers" : quoted(record_->source),
                     quoted(gpus_.front()->name));
}

} // namespace sale
