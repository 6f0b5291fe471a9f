// SPDX-License-Identifier: Apache-2.0
#include "autotune/search/build_record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

namespace sale::autotune {

namespace {

// What one bucket came to.
struct Found {
  float up_to_density = 1;
  Tile tile;
  TuningFacts facts;
};

using Bands = std::vector<Found>; // of one length, ascending

bool same_tiles(const Bands &a, const Bands &b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Found &x, const Found &y) {
    return x.up_to_density == y.up_to_density && x.tile == y.tile;
  });
}

void add_facts(TuningFacts &to, const TuningFacts &from) { to.insert(from.begin(), from.end()); }

TuningFacts facts_of(const Task &task, const Decision &decision) {
  if (!decision.left_out.empty()) {
    return {};
  }
  const std::string name = task.density > 0 ? fmt::format("{} tokens, density {:g}", task.tokens, task.density)
                                            : fmt::format("{} tokens", task.tokens);
  return {{name, fmt::format("default {:.4g} ms, chosen {:.4g} ms, ratio {:.4f}, noise band {:.4f}, {} rounds",
                             decision.default_ms, decision.best_ms, decision.ratio, decision.band, decision.rounds)}};
}

// Bands of the same tile are one.
Bands joined(const Bands &bands) {
  Bands out;
  for (const Found &found : bands) {
    if (!out.empty() && out.back().tile == found.tile) {
      out.back().up_to_density = found.up_to_density;
      add_facts(out.back().facts, found.facts);
    } else {
      out.push_back(found);
    }
  }
  return out;
}

KernelTuning tuning_of(const std::string &kernel, const std::map<int, Bands> &lengths) {
  std::vector<std::pair<int, Bands>> joined_lengths;
  for (const auto &[tokens, unordered] : lengths) {
    Bands bands = unordered;
    std::sort(bands.begin(), bands.end(),
              [](const Found &a, const Found &b) { return a.up_to_density < b.up_to_density; });
    bands = joined(bands);
    if (!joined_lengths.empty() && same_tiles(joined_lengths.back().second, bands)) {
      auto &[last_tokens, last] = joined_lengths.back();
      last_tokens = tokens;
      for (std::size_t i = 0; i < bands.size(); ++i) {
        add_facts(last[i].facts, bands[i].facts);
      }
    } else {
      joined_lengths.emplace_back(tokens, std::move(bands));
    }
  }
  joined_lengths.back().first = TileChoice::all_tokens;
  KernelTuning tuning;
  tuning.kernel = kernel;
  for (const auto &[tokens, bands] : joined_lengths) {
    for (const Found &found : bands) {
      tuning.choices.push_back(
          {.up_to_tokens = tokens, .up_to_density = found.up_to_density, .tile = found.tile, .facts = found.facts});
    }
  }
  return tuning;
}

Tile known_tile(const GpuTuning *known, const TuneBucket &bucket) {
  if (known != nullptr) {
    const std::string kernel = bucket.task.kernel.class_name();
    for (const KernelTuning &tuning : known->kernels) {
      for (const TileChoice &choice : tuning.choices) {
        if (tuning.kernel == kernel && choice.serves(bucket.task.tokens, bucket.up_to_density)) {
          return choice.tile;
        }
      }
    }
  }
  return bucket.task.kernel.tile;
}

} // namespace

GpuTuning build_tuning(const GpuId &gpu, const TuningFacts &facts, const std::vector<TuneBucket> &buckets,
                       const std::vector<Decision> &decisions, const GpuTuning *known) {
  GpuTuning tuning;
  tuning.name = gpu.name;
  tuning.arch = gpu.arch;
  tuning.multiprocessors = gpu.multiprocessors;
  tuning.facts = facts;
  std::set<std::string> decided;
  for (const Decision &decision : decisions) {
    decided.insert(decision.task.kernel.class_name());
  }
  std::vector<std::string> order;
  std::map<std::string, std::map<int, Bands>> kernels;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    const Task &task = buckets[i].task;
    const std::string kernel = task.kernel.class_name();
    if (decided.count(kernel) == 0) {
      continue;
    }
    if (kernels.find(kernel) == kernels.end()) {
      order.push_back(kernel);
    }
    Found found;
    found.up_to_density = buckets[i].up_to_density;
    found.tile = i < decisions.size() ? decisions[i].tile : known_tile(known, buckets[i]);
    if (i < decisions.size()) {
      found.facts = facts_of(task, decisions[i]);
    }
    kernels[kernel][task.tokens].push_back(std::move(found));
  }
  for (const std::string &kernel : order) {
    tuning.kernels.push_back(tuning_of(kernel, kernels[kernel]));
  }
  return tuning;
}

} // namespace sale::autotune
