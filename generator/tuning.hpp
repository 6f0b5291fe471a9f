// SPDX-License-Identifier: Apache-2.0
// TuningRecord: which tile a kernel takes on GPUs that were measured, by the length and the density of a call. Pure;
// autotune/ reads and writes it as YAML.
#pragma once

#include "generator/kernel_spec.hpp"

#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace sale {

/// What else is known, by name: kept with a record, looked at by nobody here.
using TuningFacts = std::map<std::string, std::string>;

/// The tile of calls up to so many keys and so dense a mask.
struct TileChoice {
  static constexpr int all_tokens = std::numeric_limits<int>::max();

  int up_to_tokens = all_tokens; ///< Shape::kv_len: a power of two, or all.
  float up_to_density = 1;       ///< RunArgs::expected_density, in (0, 1].
  Tile tile;
  TuningFacts facts;

  /// Whether it is for a call of `kv_len` keys; a density of 0 is unknown, and counts as 1.
  bool serves(int kv_len, float density) const {
    return kv_len <= up_to_tokens && (density > 0 ? density : 1) <= up_to_density;
  }
};

struct KernelTuning {
  std::string kernel; ///< KernelSpec::class_name().
  /// Ascending by tokens, then by density. The first that serves a call is chosen. Each length ends with density 1, and
  /// the last of them is all: every call is served.
  std::vector<TileChoice> choices;
};

struct GpuTuning {
  std::string name; ///< As the driver says it: "NVIDIA H100 80GB HBM3".
  Arch arch;
  int multiprocessors = 0;
  TuningFacts facts;
  std::vector<KernelTuning> kernels;
};

struct TuningRecord {
  std::string source;    ///< Where it comes from, for messages.
  std::string library;   ///< version() ...
  std::string templates; ///< ... and tuned_templates_digest() of who measured.
  std::vector<GpuTuning> gpus;
  bool optional = false; ///< Nobody named it: that it has nothing for a GPU is no surprise.
};

/// Whether a record is of this library's kernels: others may be slower than the default, or no more possible.
bool is_for_this_library(const TuningRecord &record);

/// A record of this library, with no GPU.
TuningRecord empty_record();

/// What the record has for exactly this GPU; null where it has nothing.
const GpuTuning *tuning_for(const TuningRecord &record, std::string_view gpu, const Arch &arch, int multiprocessors);

/// What the record has for GPUs of an architecture: of this name, or of any where it is empty.
std::vector<const GpuTuning *> tunings_for(const TuningRecord &record, std::string_view gpu, const Arch &arch);

/// The choices for a kernel, whatever its tile; empty where the record has none. Throws Error(invalid_argument) where
/// it names a tile that the kernel cannot have, or one that would change what is selected.
std::vector<TileChoice> choices_for(const TuningRecord &record, const GpuTuning &gpu, const KernelSpec &spec);

/// Of plan_kernels' specs: each, and after it those of the other tiles that can be chosen on these GPUs.
std::vector<KernelSpec> with_choices(const std::vector<KernelSpec> &specs, const TuningRecord &record,
                                     const std::vector<const GpuTuning *> &gpus);

} // namespace sale
