// SPDX-License-Identifier: Apache-2.0
#include "cli/tune_shortlists.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>

namespace sale::cli {

TuneShortlists::TuneShortlists(const std::vector<autotune::TuneBucket> &buckets, const KernelFactory *factory, int jobs,
                               const std::function<bool()> &cancelled, const Told &told)
    : compiled_(factory != nullptr) {
  for (const autotune::TuneBucket &bucket : buckets) {
    const KernelSpec &kernel = bucket.task.kernel;
    if (std::none_of(classes_.begin(), classes_.end(), [&](const Class &known) { return known.kernel == kernel; })) {
      classes_.emplace_back().kernel = kernel;
    }
  }
  const autotune::SearchSpace &space = autotune::SearchSpace::shipped();
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    Class &each = classes_[i];
    const auto start = std::chrono::steady_clock::now();
    each.space = space.size(each.kernel);
    each.shortlist = autotune::estimate(each.kernel, space);
    if (factory != nullptr) {
      each.shortlist =
          autotune::compile(each.shortlist, each.kernel, *factory, jobs, cancelled, [&](int done, int all) {
            told(fmt::format("kernel {}/{}: compiling {}/{} tiles of {}", i + 1, classes_.size(), done, all,
                             each.kernel.class_name()));
          });
      if (cancelled()) {
        throw Error(ErrorKind::cancelled, "tuning was stopped while it compiled");
      }
    }
    each.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
}

double TuneShortlists::seconds() const {
  return std::accumulate(classes_.begin(), classes_.end(), 0.0,
                         [](double sum, const Class &each) { return sum + each.seconds; });
}

std::vector<autotune::Candidate> TuneShortlists::candidates(const autotune::Task &task,
                                                            const autotune::GpuParameters &gpu) const {
  const auto found =
      std::find_if(classes_.begin(), classes_.end(), [&](const Class &each) { return each.kernel == task.kernel; });
  std::vector<autotune::Candidate> candidates = found->shortlist.candidates;
  autotune::add_model_times(candidates, task, gpu);
  return candidates;
}

} // namespace sale::cli
