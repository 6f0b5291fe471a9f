// SPDX-License-Identifier: Apache-2.0
// Which tiles of Options::tuning matter: to an Engine those of its own GPU, to prewarm those of every GPU asked for.
#pragma once

#include "generator/generate.hpp"
#include "generator/tuning.hpp"
#include "sale/sale.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sale {

class TunedTiles {
public:
  /// Of one GPU. A record of other kernels, or without this GPU, is a warning, and the default tiles are taken. Of a
  /// record that is optional so is an impossible tile, and a missing GPU is nothing to speak of.
  TunedTiles(std::shared_ptr<const TuningRecord> record, const std::string &gpu, const Arch &arch, int multiprocessors,
             const std::function<void(const std::string &)> &warn);
  /// Of all GPUs of an architecture, or those of Options::tuning_gpu. A record of other kernels, or without such a GPU,
  /// is Error(invalid_argument): what was asked for cannot be made. Not so where the record is optional.
  TunedTiles(const Options &options, const std::vector<Arch> &archs);

  /// Of plan_kernels' specs: each, and after it those of the tiles that can be chosen instead.
  std::vector<KernelSpec> with_choices(const std::vector<KernelSpec> &specs) const;
  /// Of one GPU: when which.
  std::vector<TileChoice> choices(const KernelSpec &spec) const;
  /// Of one GPU: what `sale prewarm` must be told beside the problem, for a shell.
  std::string prewarm_words() const;

private:
  std::shared_ptr<const TuningRecord> record_;
  std::function<void(const std::string &)> warn_;
  std::vector<const GpuTuning *> gpus_;
};

} // namespace sale
