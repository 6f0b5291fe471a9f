// SPDX-License-Identifier: Apache-2.0
#include "autotune/search/decide.hpp"

#include "autotune/search/noise.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>

namespace sale::autotune {

namespace {

constexpr double bands_to_displace = 2;
constexpr int first_rounds = 2; // tell how long a round takes

// One task's candidates while they are compared; index 0 is the default.
class Contest {
public:
  Contest(const Task &task, const std::vector<Candidate> &candidates, Measurer &measurer,
          const SearchSettings &settings, const StepTold &told, const std::function<bool()> &cancelled)
      : measurer_(measurer), settings_(settings), told_(told), cancelled_(cancelled), ratios_(candidates.size()) {
    decision_.task = task;
    for (const Candidate &candidate : candidates) {
      CandidateResult result;
      result.tile = candidate.tile;
      result.model_ms = candidate.model_ms;
      decision_.candidates.push_back(result);
    }
    decision_.tile = decision_.candidates.front().tile;
  }

  Decision run() {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::size_t> alive(decision_.candidates.size());
    std::iota(alive.begin(), alive.end(), 0U);
    halve(alive);
    if (alive.size() > 1) {
      final(alive);
    } else { // nobody is left to displace the default
      decision_.default_ms = median(default_ms_);
      decision_.best_ms = decision_.default_ms;
      decision_.band = settings_.band_floor;
      decision_.rounds = static_cast<int>(default_ms_.size());
    }
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    decision_.seconds = spent.count();
    return std::move(decision_);
  }

private:
  using Times = std::vector<std::vector<double>>; // per candidate, empty where it did not run

  void step(const std::string &what) const {
    if (cancelled_ && cancelled_()) {
      throw Error(ErrorKind::cancelled, "tuning was cancelled");
    }
    if (told_) {
      told_(what, best_ratio_);
    }
  }

  // All of `alive` in the same rounds; those that failed leave it. The default's failure leaves nothing to compare
  // with.
  Times measure(std::vector<std::size_t> &alive, int rounds) {
    std::vector<Tile> tiles;
    tiles.reserve(alive.size());
    for (const std::size_t i : alive) {
      tiles.push_back(decision_.candidates[i].tile);
    }
    const auto start = std::chrono::steady_clock::now();
    const Rounds measured = measurer_.measure(decision_.task, tiles, rounds);
    const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - start;
    sample_ms_ = spent.count() / (rounds * static_cast<double>(tiles.size()));
    decision_.disturbed += measured.disturbed;
    Times times(decision_.candidates.size());
    std::vector<std::size_t> good;
    for (std::size_t k = 0; k < alive.size(); ++k) {
      const Measurement &of = measured.of.at(k);
      CandidateResult &result = decision_.candidates[alive[k]];
      if (of.outcome == Outcome::good && !of.ms.empty()) {
        times[alive[k]] = of.ms;
        good.push_back(alive[k]);
      } else {
        result.outcome = of.outcome == Outcome::good ? Outcome::failed : of.outcome;
        result.why = of.why.empty() ? "it gave no times" : of.why;
      }
    }
    if (good.empty() || good.front() != 0) {
      throw Error(ErrorKind::load, fmt::format("the default tile of {} cannot be measured: {}",
                                               decision_.task.describe(), decision_.candidates.front().why));
    }
    alive = std::move(good);
    default_ms_.insert(default_ms_.end(), times[0].begin(), times[0].end());
    for (const std::size_t i : alive) {
      CandidateResult &result = decision_.candidates[i];
      for (std::size_t round = 0; round < std::min(times[i].size(), times[0].size()); ++round) {
        ratios_[i].push_back(times[i][round] / times[0][round]);
      }
      result.rounds = static_cast<int>(ratios_[i].size());
      result.ratio = median(ratios_[i]);
      if (result.first_ms == 0) {
        result.first_ms = median(times[i]);
      }
      best_ratio_ = std::min(best_ratio_, result.ratio);
    }
    return times;
  }

  // As many as fill the time that a step may take. A sample costs what the latest ones did: of prepare it is a whole
  // selection, of which only a part counts.
  int rounds_for(const std::vector<std::size_t> &alive, int least) const {
    double round_ms = 0;
    for (const std::size_t i : alive) {
      round_ms += std::max(sample_ms_, decision_.candidates[i].first_ms);
    }
    const double fill = round_ms > 0 ? settings_.task_seconds * 1000 / round_ms : least;
    return std::clamp(static_cast<int>(fill), least, std::max(least, settings_.most_rounds));
  }

  void halve(std::vector<std::size_t> &alive) {
    const auto most = static_cast<std::size_t>(settings_.finalists) + 1;
    step(fmt::format("{} candidates", alive.size()));
    measure(alive, first_rounds);
    while (alive.size() > most) {
      step(fmt::format("{} candidates", alive.size()));
      measure(alive, rounds_for(alive, settings_.halving_rounds));
      std::vector<std::size_t> order(alive.begin() + 1, alive.end());
      std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return std::make_pair(decision_.candidates[a].ratio, a) < std::make_pair(decision_.candidates[b].ratio, b);
      });
      order.resize(std::min(order.size(), std::max(most - 1, (order.size() + 1) / 2)));
      if (order.size() + 1 >= alive.size() && order.size() > most - 1) {
        order.resize(most - 1);
      }
      // What is slower than the default beyond noise cannot displace it.
      order.erase(std::remove_if(order.begin(), order.end(), [&](std::size_t i) { return is_hopeless(i); }),
                  order.end());
      std::sort(order.begin(), order.end());
      alive.resize(1);
      alive.insert(alive.end(), order.begin(), order.end());
    }
  }

  bool is_hopeless(std::size_t i) const {
    const std::vector<double> ones(ratios_[i].size(), 1.0);
    const Comparison against = compare(ratios_[i], ones, settings_.band_floor);
    return against.ratio > 1 + bands_to_displace * against.band;
  }

  // Two blocks of rounds of their own; the first of equals that beats the default in both, and is right, wins.
  void final(std::vector<std::size_t> alive) {
    std::vector<std::vector<Comparison>> blocks(decision_.candidates.size());
    Times all(decision_.candidates.size());
    const int rounds = rounds_for(alive, settings_.block_rounds);
    for (int block = 1; block <= 2; ++block) {
      step(fmt::format("{} finalists, block {} of 2", alive.size() - 1, block));
      const Times times = measure(alive, rounds);
      for (const std::size_t i : alive) {
        blocks[i].push_back(compare(times[i], times[0], settings_.band_floor));
        all[i].insert(all[i].end(), times[i].begin(), times[i].end());
      }
      decision_.rounds += static_cast<int>(times[0].size());
    }
    decision_.default_ms = median(all[0]);
    decision_.best_ms = decision_.default_ms;
    decision_.band = settings_.band_floor;

    std::vector<std::size_t> better;
    for (const std::size_t i : alive) {
      const auto &of = blocks[i];
      if (i != 0 && of.size() == 2 && std::all_of(of.begin(), of.end(), [](const Comparison &c) {
            return c.ratio < 1 - bands_to_displace * c.band;
          })) {
        better.push_back(i);
      }
    }
    while (!better.empty()) {
      const std::size_t winner = first_of_the_best(better, all);
      step("check");
      const Measurement checked = measurer_.check(decision_.task, decision_.candidates[winner].tile);
      if (checked.outcome == Outcome::good) {
        const Comparison against = compare(all[winner], all[0], settings_.band_floor);
        decision_.tile = decision_.candidates[winner].tile;
        decision_.is_default = false;
        decision_.best_ms = median(all[winner]);
        decision_.ratio = against.ratio;
        decision_.band = against.band;
        return;
      }
      decision_.candidates[winner].outcome = checked.outcome;
      decision_.candidates[winner].why = checked.why;
      better.erase(std::find(better.begin(), better.end(), winner));
    }
  }

  std::size_t first_of_the_best(const std::vector<std::size_t> &better, const Times &all) const {
    std::vector<Comparison> of;
    double best = 1;
    double band = 0;
    for (const std::size_t i : better) {
      of.push_back(compare(all[i], all[0], settings_.band_floor));
      if (of.back().ratio < best) {
        best = of.back().ratio;
        band = of.back().band;
      }
    }
    for (std::size_t k = 0; k < better.size(); ++k) {
      if (of[k].ratio <= best + std::max(band, of[k].band)) {
        return better[k];
      }
    }
    return better.front();
  }

  Measurer &measurer_;
  const SearchSettings &settings_;
  const StepTold &told_;
  const std::function<bool()> &cancelled_;
  Decision decision_;
  std::vector<std::vector<double>> ratios_; // of all rounds, to the default
  std::vector<double> default_ms_;          // the same
  double best_ratio_ = 1;
  double sample_ms_ = 0; // of the latest rounds, by the clock on the wall
};

} // namespace

Decision decide(const Task &task, const std::vector<Candidate> &candidates, Measurer &measurer,
                const SearchSettings &settings, const StepTold &told, const std::function<bool()> &cancelled) {
  if (candidates.empty()) {
    throw Error(ErrorKind::invalid_argument, fmt::format("{} has no candidates", task.describe()));
  }
  return Contest(task, candidates, measurer, settings, told, cancelled).run();
}

} // namespace sale::autotune
