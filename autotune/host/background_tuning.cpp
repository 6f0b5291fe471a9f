// SPDX-License-Identifier: Apache-2.0
#include "sale/background_tuning.hpp"

#include "autotune/host/tune_process.hpp"
#include "runtime/need_words.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <optional>
#include <utility>

namespace sale {

namespace {

using autotune::TuneProcess;

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

void require_tunable(const Need &need) {
  validate(need.problem);
  validate(need.policy, need.problem);
  if (need.serving.is_ragged()) {
    refuse("a need of a BackgroundTuning is of ragged serving; the kernels of plain serving are what can be tuned");
  }
  if (!need.policy.projection.empty()) {
    refuse("a policy of a BackgroundTuning has a projection; estimates by channels are what can be tuned");
  }
}

std::filesystem::path absolute_record(const std::filesystem::path &record) {
  if (record.empty()) {
    refuse("BackgroundTuningOptions::record is empty; name the file that the tiles go to");
  }
  return std::filesystem::absolute(record);
}

} // namespace

struct BackgroundTuning::Tuning {
  BackgroundTuningOptions options;
  std::filesystem::path program;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  std::size_t next = 0; ///< Of the needs.
  std::optional<TuneProcess> process;
  State state = State::running;
  std::string error;

  double seconds_left() const {
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    return options.budget_seconds - spent.count();
  }

  // What is left of the budget is shared by the needs that are left.
  void start_next() {
    const double seconds = seconds_left() / static_cast<double>(options.needs.size() - next);
    const Need &need = options.needs[next++];
    std::vector<std::string> words = {program.string(), "tune"};
    const auto add = [&](const std::vector<std::string> &more) { words.insert(words.end(), more.begin(), more.end()); };
    add(problem_words(need.problem));
    add(policy_words(need.policy));
    if (!options.lengths.empty()) {
      add({"--lengths", fmt::format("{}", fmt::join(options.lengths, ","))});
    }
    add({"--budget", fmt::format("{:.1f}", seconds)});
    add({"--device", fmt::format("{}", options.device)});
    add({"--output", options.record.string()});
    add({"--stop-at-end-of-input"}); // so that it ends with this process, however that ends
    add(options.more_words);
    process.emplace(words, options.niceness);
  }
};

BackgroundTuning::BackgroundTuning(BackgroundTuningOptions options) : tuning_(std::make_unique<Tuning>()) {
  if (options.needs.empty()) {
    refuse("BackgroundTuningOptions::needs is empty; name at least one problem and policy");
  }
  for (const Need &need : options.needs) {
    require_tunable(need);
  }
  if (!(options.budget_seconds > 0)) {
    refuse(fmt::format("BackgroundTuningOptions::budget_seconds is {}; it must be above 0", options.budget_seconds));
  }
  options.record = absolute_record(options.record);
  tuning_->program = autotune::find_sale_program(options.program);
  tuning_->options = std::move(options);
  tuning_->start_next();
}

BackgroundTuning::~BackgroundTuning() { stop(); }

BackgroundTuning::State BackgroundTuning::state() {
  Tuning &tuning = *tuning_;
  if (tuning.state != State::running || !tuning.process->ended()) {
    return tuning.state;
  }
  if (!tuning.process->succeeded()) {
    tuning.error = tuning.process->last_words();
    tuning.state = State::failed;
  } else if (tuning.next == tuning.options.needs.size() || tuning.seconds_left() < 1) {
    tuning.state = State::done;
  } else {
    tuning.start_next();
  }
  return tuning.state;
}

const std::string &BackgroundTuning::error() const { return tuning_->error; }

std::shared_ptr<const TuningRecord> BackgroundTuning::record() const {
  std::error_code none;
  return std::filesystem::exists(tuning_->options.record, none) ? load_tuning(tuning_->options.record) : nullptr;
}

void BackgroundTuning::stop() {
  if (tuning_->state == State::running) {
    tuning_->process.reset();
    tuning_->state = State::stopped;
  }
}

} // namespace sale
