// SPDX-License-Identifier: Apache-2.0
#include "autotune/search/buckets.hpp"

#include "generator/generate.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

namespace sale::autotune {

namespace {

constexpr int least_tokens = 128;
constexpr int most_tokens = 1 << 20; // as records say them

// What takes most of a call with a mask of a tenth comes first.
int weight(const KernelSpec &kernel) {
  if (kernel.stage == Stage::attend) {
    return kernel.dense ? 1 : 3;
  }
  return kernel.stage == Stage::select ? 2 : 0;
}

void require_lengths(const std::vector<int> &lengths) {
  if (lengths.empty()) {
    throw Error(ErrorKind::invalid_argument, "there is no length to tune for; name at least one");
  }
  for (const int length : lengths) {
    if (length < least_tokens || length > most_tokens || (length & (length - 1)) != 0) {
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("a length to tune for is {}; it must be a power of two from {} to {}", length,
                              least_tokens, most_tokens));
    }
  }
}

void require_bands(const std::vector<DensityBand> &bands) {
  float before = 0;
  for (const DensityBand &band : bands) {
    if (!(band.up_to > before && band.up_to <= 1) || band.measured < 0 || band.measured > band.up_to) {
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("density bands must ascend up to 1, each measured at a density in it; {} is none of them",
                              band.up_to));
    }
    before = band.up_to;
  }
  if (before != 1) {
    throw Error(ErrorKind::invalid_argument, "the last density band must be up to 1");
  }
}

} // namespace

std::vector<DensityBand> default_bands() { return {{0.08F, 0.05F}, {1, 0}}; }

std::vector<TuneBucket> tune_buckets(const std::vector<Need> &needs, std::vector<int> lengths,
                                     const std::vector<DensityBand> &bands, const Arch &arch) {
  require_lengths(lengths);
  require_bands(bands);
  std::sort(lengths.begin(), lengths.end(), std::greater<>());
  lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());

  std::vector<Task> tasks;
  std::set<std::string> classes;
  for (const Need &need : needs) {
    for (const KernelSpec &kernel : plan_kernels(need.problem, need.policy, arch)) {
      if (is_tunable(kernel.stage) && classes.insert(kernel.class_name()).second) {
        Task task;
        task.problem = need.problem;
        task.policy = need.policy;
        task.kernel = kernel;
        tasks.push_back(std::move(task));
      }
    }
  }
  std::sort(tasks.begin(), tasks.end(), [](const Task &a, const Task &b) {
    return std::make_pair(-weight(a.kernel), a.kernel.class_name()) <
           std::make_pair(-weight(b.kernel), b.kernel.class_name());
  });

  std::vector<TuneBucket> buckets;
  for (const int length : lengths) {
    for (Task task : tasks) {
      task.tokens = length;
      if (task.kernel.stage != Stage::attend || task.kernel.dense) {
        buckets.push_back({task, 1});
        continue;
      }
      for (auto band = bands.rbegin(); band != bands.rend(); ++band) {
        task.density = band->measured;
        buckets.push_back({task, band->up_to});
      }
    }
  }
  return buckets;
}

} // namespace sale::autotune
