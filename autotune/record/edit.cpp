// SPDX-License-Identifier: Apache-2.0
#include "autotune/record/edit.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace sale::autotune {

namespace {

using Bound = std::pair<int, float>; // up to so many tokens and so dense

template <class Gpus>
auto find_gpu(Gpus &gpus, const GpuTuning &like) {
  return std::find_if(gpus.begin(), gpus.end(), [&](const GpuTuning &gpu) {
    return gpu.name == like.name && gpu.arch == like.arch && gpu.multiprocessors == like.multiprocessors;
  });
}

template <class Kernels>
auto find_kernel(Kernels &kernels, const std::string &name) {
  return std::find_if(kernels.begin(), kernels.end(),
                      [&](const KernelTuning &kernel) { return kernel.kernel == name; });
}

void merge_gpu(GpuTuning &base, const GpuTuning &over) {
  base.facts = over.facts;
  for (const KernelTuning &kernel : over.kernels) {
    if (const auto found = find_kernel(base.kernels, kernel.kernel); found != base.kernels.end()) {
      *found = kernel;
    } else {
      base.kernels.push_back(kernel);
    }
  }
}

std::string calls_text(const Bound &bound) {
  std::string text;
  if (bound.first != TileChoice::all_tokens) {
    text = fmt::format("up to {} tokens", bound.first);
  }
  if (bound.second != 1) {
    text += fmt::format("{}up to density {:g}", text.empty() ? "" : ", ", bound.second);
  }
  return text.empty() ? "all" : text;
}

const TileChoice *choice_at(const KernelTuning *kernel, const Bound &bound) {
  if (kernel == nullptr) {
    return nullptr;
  }
  const auto found = std::find_if(kernel->choices.begin(), kernel->choices.end(),
                                  [&](const TileChoice &choice) { return choice.serves(bound.first, bound.second); });
  return found == kernel->choices.end() ? nullptr : &*found;
}

// Of a fact "default 1.3 ms, chosen 1.25 ms, ...": "1.25".
std::string chosen_ms(const std::string &fact) {
  const std::string word = "chosen ";
  const std::size_t at = fact.find(word);
  const std::size_t end = at == std::string::npos ? at : fact.find(" ms", at + word.size());
  return end == std::string::npos ? "" : fact.substr(at + word.size(), end - at - word.size());
}

std::string times_text(const TileChoice &before, const TileChoice &after) {
  std::string text;
  for (const auto &[name, fact] : before.facts) {
    const auto other = after.facts.find(name);
    const std::string was = chosen_ms(fact);
    const std::string is = other == after.facts.end() ? "" : chosen_ms(other->second);
    if (!was.empty() && !is.empty()) {
      text += fmt::format("{}{}: {} -> {} ms", text.empty() ? "" : "; ", name, was, is);
    }
  }
  return text;
}

void add_differences(std::vector<TuningDifference> &to, const std::string &gpu, const std::string &name,
                     const KernelTuning *before, const KernelTuning *after) {
  std::set<int> lengths = {TileChoice::all_tokens};
  std::set<float> densities = {1};
  for (const KernelTuning *kernel : {before, after}) {
    if (kernel != nullptr) {
      for (const TileChoice &choice : kernel->choices) {
        lengths.insert(choice.up_to_tokens);
        densities.insert(choice.up_to_density);
      }
    }
  }
  for (const int length : lengths) {
    for (const float density : densities) {
      const TileChoice *was = choice_at(before, {length, density});
      const TileChoice *is = choice_at(after, {length, density});
      TuningDifference found{gpu,
                             name,
                             calls_text({length, density}),
                             was == nullptr ? "" : tile_text(was->tile),
                             is == nullptr ? "" : tile_text(is->tile),
                             ""};
      if (found.before != found.after) {
        found.times = was == nullptr || is == nullptr ? "" : times_text(*was, *is);
        to.push_back(std::move(found));
      }
    }
  }
}

} // namespace

std::string tile_text(const Tile &tile) {
  return fmt::format("{}x{}/{}/{}/{}", tile.rows_per_warp, tile.warps, tile.keys_per_step, tile.stages, tile.min_ctas);
}

bool same_kernels(const TuningRecord &a, const TuningRecord &b) {
  return a.library == b.library && a.templates == b.templates;
}

TuningRecord merged(TuningRecord base, const TuningRecord &over) {
  if (!same_kernels(base, over)) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} (libsale {}, templates {}) and {} (libsale {}, templates {}) were measured with "
                            "different kernels, so they cannot be one record",
                            base.source, base.library, base.templates, over.source, over.library, over.templates));
  }
  for (const GpuTuning &gpu : over.gpus) {
    if (const auto found = find_gpu(base.gpus, gpu); found != base.gpus.end()) {
      merge_gpu(*found, gpu);
    } else {
      base.gpus.push_back(gpu);
    }
  }
  sort_record(base);
  return base;
}

TuningRecord only(const TuningRecord &record, const std::string &gpu, const std::string &arch,
                  const std::string &kernel) {
  TuningRecord out = record;
  out.gpus.clear();
  for (GpuTuning tuning : record.gpus) {
    if ((!gpu.empty() && tuning.name != gpu) || (!arch.empty() && tuning.arch.name() != arch)) {
      continue;
    }
    if (!kernel.empty()) {
      tuning.kernels.erase(std::remove_if(tuning.kernels.begin(), tuning.kernels.end(),
                                          [&](const KernelTuning &of) { return of.kernel != kernel; }),
                           tuning.kernels.end());
    }
    if (!tuning.kernels.empty()) {
      out.gpus.push_back(std::move(tuning));
    }
  }
  return out;
}

void sort_record(TuningRecord &record) {
  std::sort(record.gpus.begin(), record.gpus.end(), [](const GpuTuning &a, const GpuTuning &b) {
    return std::make_tuple(a.name, a.arch.name(), a.multiprocessors) <
           std::make_tuple(b.name, b.arch.name(), b.multiprocessors);
  });
  for (GpuTuning &gpu : record.gpus) {
    std::sort(gpu.kernels.begin(), gpu.kernels.end(),
              [](const KernelTuning &a, const KernelTuning &b) { return a.kernel < b.kernel; });
  }
}

std::vector<TuningDifference> differences(const TuningRecord &before, const TuningRecord &after) {
  using Pair = std::pair<const KernelTuning *, const KernelTuning *>;
  std::map<std::pair<std::string, std::string>, Pair> kernels; // by GPU and name
  const auto collect = [&](const TuningRecord &record, const KernelTuning *Pair::*side) {
    for (const GpuTuning &gpu : record.gpus) {
      const std::string name =
          fmt::format("{}, {}, {} multiprocessors", gpu.name, gpu.arch.name(), gpu.multiprocessors);
      for (const KernelTuning &kernel : gpu.kernels) {
        kernels[{name, kernel.kernel}].*side = &kernel;
      }
    }
  };
  collect(before, &Pair::first);
  collect(after, &Pair::second);
  std::vector<TuningDifference> found;
  for (const auto &[names, pair] : kernels) {
    add_differences(found, names.first, names.second, pair.first, pair.second);
  }
  return found;
}

} // namespace sale::autotune
