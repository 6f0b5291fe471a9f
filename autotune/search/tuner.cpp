// SPDX-License-Identifier: Apache-2.0
#include "autotune/search/tuner.hpp"

#include "autotune/search/build_record.hpp"
#include "autotune/search/journal.hpp"
#include "generator/template_source.hpp"
#include "sale/error.hpp"
#include "sale/version.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <utility>

namespace sale::autotune {

namespace {

// Of the GPU's architecture, whatever GPU measured them.
std::vector<Tile> tiles_of(const std::vector<TuningRecord> &records, const KernelSpec &kernel) {
  std::vector<Tile> tiles;
  const std::string name = kernel.class_name();
  for (const TuningRecord &record : records) {
    for (const GpuTuning &gpu : record.gpus) {
      for (const KernelTuning &tuning : gpu.kernels) {
        if (gpu.arch == kernel.arch && tuning.kernel == name) {
          for (const TileChoice &choice : tuning.choices) {
            tiles.push_back(choice.tile);
          }
        }
      }
    }
  }
  return tiles;
}

// What is known of this GPU's kernels as they are now; the last one counts.
const GpuTuning *known_of(const std::vector<TuningRecord> &records, const GpuId &gpu) {
  const GpuTuning *known = nullptr;
  for (const TuningRecord &record : records) {
    const GpuTuning *found =
        is_for_this_library(record) ? tuning_for(record, gpu.name, gpu.arch, gpu.multiprocessors) : nullptr;
    known = found != nullptr ? found : known;
  }
  return known;
}

class Run {
public:
  Run(const TuneRequest &request, Measurer &measurer, const std::function<void(const TuneProgress &)> &told,
      const std::function<bool()> &cancelled)
      : request_(request), measurer_(measurer), told_(told), cancelled_(cancelled) {}

  TuneResult run() {
    const GpuId gpu = measurer_.gpu();
    if (!request_.journal.empty()) {
      journal_.emplace(request_.journal, asked_line(request_, gpu), request_.resume);
    }
    for (std::size_t i = 0; i < request_.buckets.size(); ++i) {
      if (!decide_next(i)) {
        break;
      }
    }
    result_.complete = result_.decisions.size() == request_.buckets.size();
    result_.seconds = elapsed();
    result_.gpu =
        build_tuning(gpu, measurer_.facts(), request_.buckets, result_.decisions, known_of(request_.earlier, gpu));
    return std::move(result_);
  }

private:
  double elapsed() const {
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
    return spent.count();
  }

  void tell(std::size_t bucket, const std::string &step, double ratio, const Decision *decided, bool from_journal) {
    if (!told_) {
      return;
    }
    TuneProgress progress;
    progress.bucket = bucket;
    progress.buckets = request_.buckets.size();
    progress.task = request_.buckets[bucket].task.describe();
    progress.step = step;
    progress.best_ratio = ratio;
    progress.decided = decided;
    progress.from_journal = from_journal;
    progress.seconds_left = seconds_left(bucket + (decided != nullptr ? 1 : 0));
    told_(progress);
  }

  // A decision costs what those before did; what a call of it costs hardly matters, as rounds adapt to it.
  double seconds_left(std::size_t next) const {
    if (decided_here_ == 0) {
      return -1;
    }
    return seconds_here_ / static_cast<double>(decided_here_) * static_cast<double>(request_.buckets.size() - next);
  }

  bool decide_next(std::size_t i) {
    const TuneBucket &bucket = request_.buckets[i];
    const std::string name = bucket.task.describe();
    if (const Decision *known = in_journal(name)) {
      result_.decisions.push_back(*known);
      result_.decisions.back().task = bucket.task;
      tell(i, "journal", 1, &result_.decisions.back(), true);
      return true;
    }
    if (cancelled_ && cancelled_()) {
      result_.stopped = "it was interrupted";
      return false;
    }
    if (request_.settings.budget_seconds > 0 && elapsed() > request_.settings.budget_seconds) {
      result_.stopped = fmt::format("the budget of {:g} s is spent", request_.settings.budget_seconds);
      return false;
    }
    Decision decision;
    try {
      decision = decide_one(i, bucket.task);
    } catch (const Error &error) {
      if (error.kind() == ErrorKind::cancelled) {
        result_.stopped = "it was interrupted";
        return false;
      }
      // The task's tensors do not fit, or suit, this device, or its default tile cannot run.
      if (error.kind() != ErrorKind::load && error.kind() != ErrorKind::invalid_argument) {
        throw;
      }
      decision.task = bucket.task;
      decision.tile = bucket.task.kernel.tile;
      decision.left_out = error.what();
    }
    if (journal_) {
      journal_->add(name, decision);
    }
    result_.decisions.push_back(std::move(decision));
    tell(i, "done", result_.decisions.back().ratio, &result_.decisions.back(), false);
    return true;
  }

  Decision decide_one(std::size_t i, const Task &task) {
    const double begin = elapsed();
    std::vector<Tile> wanted = tiles_of(request_.earlier, task.kernel);
    // What won at other lengths is a candidate at this one.
    for (const Decision &before : result_.decisions) {
      if (before.task.kernel.class_name() == task.kernel.class_name()) {
        wanted.push_back(before.tile);
      }
    }
    const std::vector<Candidate> candidates =
        pick_candidates(request_.candidates_of(task), wanted, request_.settings.candidates);
    Decision decision = decide(
        task, candidates, measurer_, request_.settings,
        [&](const std::string &step, double ratio) { tell(i, step, ratio, nullptr, false); }, cancelled_);
    seconds_here_ += elapsed() - begin;
    ++decided_here_;
    return decision;
  }

  const Decision *in_journal(const std::string &name) const {
    if (journal_) {
      for (const JournalLine &line : journal_->lines()) {
        if (line.name == name) {
          return &line.decision;
        }
      }
    }
    return nullptr;
  }

  const TuneRequest &request_;
  Measurer &measurer_;
  const std::function<void(const TuneProgress &)> &told_;
  const std::function<bool()> &cancelled_;
  std::optional<Journal> journal_;
  TuneResult result_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double seconds_here_ = 0; // of decisions that were made, not read
  std::size_t decided_here_ = 0;
};

} // namespace

TuneResult tune(const TuneRequest &request, Measurer &measurer, const std::function<void(const TuneProgress &)> &told,
                const std::function<bool()> &cancelled) {
  return Run(request, measurer, told, cancelled).run();
}

std::string asked_line(const TuneRequest &request, const GpuId &gpu) {
  const SearchSettings &s = request.settings;
  std::string line =
      fmt::format("libsale {}, templates {}; {} ({}, {} multiprocessors); {} candidates, {}+{} to {} "
                  "rounds of {} s, {} finalists, band {}",
                  version(), tuned_templates_digest(), gpu.name, gpu.arch.name(), gpu.multiprocessors, s.candidates,
                  s.halving_rounds, s.block_rounds, s.most_rounds, s.task_seconds, s.finalists, s.band_floor);
  for (const TuneBucket &bucket : request.buckets) {
    const Task &task = bucket.task;
    line += fmt::format("; {}, up to density {:g}, {} heads, tau {:g}", task.describe(), bucket.up_to_density,
                        task.problem.num_q_heads, task.policy.tau);
  }
  return line;
}

std::vector<Candidate> pick_candidates(const std::vector<Candidate> &all, const std::vector<Tile> &wanted,
                                       int how_many) {
  std::vector<std::size_t> by_model(all.size());
  std::iota(by_model.begin(), by_model.end(), 0U);
  std::sort(by_model.begin(), by_model.end(), [&](std::size_t a, std::size_t b) {
    return std::make_pair(all[a].model_ms, a) < std::make_pair(all[b].model_ms, b);
  });
  std::vector<bool> picked(all.size(), false);
  int left = how_many;
  for (const std::size_t i : by_model) {
    const bool is_wanted = i == 0 || std::find(wanted.begin(), wanted.end(), all[i].tile) != wanted.end();
    picked[i] = is_wanted || left > 0;
    left -= is_wanted ? 0 : 1;
  }
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (picked[i]) {
      candidates.push_back(all[i]);
    }
  }
  return candidates;
}

} // namespace sale::autotune
