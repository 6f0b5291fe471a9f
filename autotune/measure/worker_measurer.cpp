// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/worker_measurer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <optional>
#include <utility>

namespace sale::autotune {

namespace {

using Clock = WorkerProcess::Clock;
using Seconds = std::chrono::duration<double>;

constexpr int most_lost_in_a_row = 3;

Clock::time_point in(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(Seconds(seconds));
}

const char *work_text(Work work) {
  switch (work) {
  case Work::data: return "its data";
  case Work::load: return "compiling and loading it";
  case Work::run: return "a run";
  case Work::oracle: return "its check against the oracle";
  }
  return "?";
}

Reply reply_of(const std::string &line, std::size_t tiles) {
  Reply reply = parse_reply(line);
  const auto *step = std::get_if<Step>(&reply);
  if (step != nullptr && (step->tile < -1 || step->tile >= static_cast<int>(tiles))) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("the worker begins with tile {}, which there is not", step->tile));
  }
  return reply;
}

} // namespace

WorkerMeasurer::WorkerMeasurer(WorkerOptions options) : options_(std::move(options)) {}

WorkerMeasurer::~WorkerMeasurer() = default;

WorkerMeasurer::Result WorkerMeasurer::ask(const Request &request, std::size_t tiles) {
  // One that has just started, or is idle, reads at once.
  if (worker_ == nullptr) {
    worker_ = std::make_unique<WorkerProcess>(options_.program, options_.arguments);
    ++started_;
  }
  worker_->send(line_of(request), in(options_.deadlines.start));
  Result result = hear_answer(tiles, options_.deadlines.start);
  if (result.loss || result.answer.spent) {
    worker_.reset();
  }
  return result;
}

WorkerMeasurer::Result WorkerMeasurer::hear_answer(std::size_t tiles, double first_deadline) {
  const WorkerDeadlines &deadlines = options_.deadlines;
  std::optional<Step> step;
  double seconds = first_deadline;
  double longest_run = 0;
  Clock::time_point begin = Clock::now();
  const auto lost = [&](Outcome outcome, std::string why) {
    return Result{{}, Loss{outcome, std::move(why), step ? step->tile : -1}};
  };
  for (std::string line;;) {
    switch (worker_->hear(line, begin + std::chrono::duration_cast<Clock::duration>(Seconds(seconds)),
                          options_.cancelled)) {
    case WorkerProcess::Heard::line: break;
    case WorkerProcess::Heard::end:
      return lost(Outcome::failed, fmt::format("its process ended with {}", worker_->last_words()));
    case WorkerProcess::Heard::late:
      worker_->kill();
      return lost(Outcome::hung, fmt::format("{} did not end within {:g} s",
                                             step ? work_text(step->work) : "the worker's start", seconds));
    case WorkerProcess::Heard::too_long:
      worker_->kill();
      return lost(Outcome::failed, "its process wrote a line without end");
    case WorkerProcess::Heard::cancelled:
      worker_->kill();
      worker_.reset();
      throw Error(ErrorKind::cancelled, "measuring was cancelled");
    }
    std::optional<Reply> reply;
    try {
      reply = reply_of(line, tiles);
    } catch (const Error &error) {
      worker_->kill();
      return lost(Outcome::failed, error.what());
    }
    if (auto *answer = std::get_if<Answer>(&*reply)) {
      return {std::move(*answer), {}};
    }
    if (step && step->work == Work::run) {
      longest_run = std::max(longest_run, Seconds(Clock::now() - begin).count());
    }
    step = std::get<Step>(*reply);
    begin = Clock::now();
    switch (step->work) {
    case Work::data: seconds = deadlines.data; break;
    case Work::load: seconds = deadlines.load; break;
    case Work::run: seconds = std::max(deadlines.run, deadlines.run_ratio * longest_run); break;
    case Work::oracle: seconds = deadlines.oracle; break;
    }
  }
}

void WorkerMeasurer::note_loss(const Loss &loss) {
  if (loss.tile >= 0) {
    lost_in_a_row_ = 0;
  } else if (++lost_in_a_row_ >= most_lost_in_a_row) {
    lost_in_a_row_ = 0;
    throw Error(ErrorKind::launch,
                fmt::format("{} workers in a row came to nothing; the last one: {}", most_lost_in_a_row, loss.why));
  }
}

// An answer of another kind than asked for is as good as none.
template <class T>
T WorkerMeasurer::take(Answer &answer) {
  if (const auto *refusal = std::get_if<Refusal>(&answer.value)) {
    throw Error(refusal->kind, refusal->what);
  }
  if (auto *value = std::get_if<T>(&answer.value)) {
    return std::move(*value);
  }
  worker_.reset();
  throw Error(ErrorKind::launch, "the worker answered what it was not asked");
}

template <class T>
T WorkerMeasurer::ask_for(const Request &request) {
  for (;;) {
    Result result = ask(request, 0);
    if (!result.loss) {
      lost_in_a_row_ = 0;
      return take<T>(result.answer);
    }
    note_loss(*result.loss);
  }
}

GpuId WorkerMeasurer::gpu() { return ask_for<GpuId>(AskGpu{}); }
TuningFacts WorkerMeasurer::facts() { return ask_for<TuningFacts>(AskFacts{}); }
GpuParameters WorkerMeasurer::parameters() { return ask_for<GpuParameters>(AskParameters{}); }

void WorkerMeasurer::note_bad(const Task &task, const Tile &tile, const Measurement &measurement) {
  bad_[task.kernel.class_name()].emplace_back(tile, measurement);
}

const Measurement *WorkerMeasurer::known_bad(const Task &task, const Tile &tile) const {
  const auto of_class = bad_.find(task.kernel.class_name());
  if (of_class == bad_.end()) {
    return nullptr;
  }
  const auto found = std::find_if(of_class->second.begin(), of_class->second.end(),
                                  [&](const auto &each) { return each.first == tile; });
  return found == of_class->second.end() ? nullptr : &found->second;
}

Rounds WorkerMeasurer::measure(const Task &task, const std::vector<Tile> &tiles, int rounds) {
  Rounds result;
  result.of.resize(tiles.size());
  for (;;) {
    std::vector<std::size_t> alive;
    AskMeasure request{task, {}, rounds};
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      if (const Measurement *bad = known_bad(task, tiles[i])) {
        result.of[i] = *bad;
      } else {
        alive.push_back(i);
        request.tiles.push_back(tiles[i]);
      }
    }
    if (alive.empty()) {
      return result;
    }
    if (const Measurement *bad = known_bad(task, task.kernel.tile)) {
      for (const std::size_t i : alive) { // each is compared with it, and would be blamed
        result.of[i] = {bad->outcome, fmt::format("the default tile, which it is compared with: {}", bad->why), {}};
      }
      return result;
    }
    Result asked = ask(request, alive.size());
    if (asked.loss) {
      note_loss(*asked.loss);
      if (asked.loss->tile >= 0) {
        note_bad(task, request.tiles[static_cast<std::size_t>(asked.loss->tile)],
                 {asked.loss->outcome, asked.loss->why, {}});
      }
      continue;
    }
    if (asked.answer.spent && std::holds_alternative<Refusal>(asked.answer.value)) {
      note_loss({Outcome::failed, std::get<Refusal>(asked.answer.value).what, -1});
      continue;
    }
    const Rounds measured = take<Rounds>(asked.answer);
    if (measured.of.size() != alive.size()) {
      worker_.reset();
      note_loss({Outcome::failed, "it did not answer for each tile", -1});
      continue;
    }
    bool any_bad = false;
    for (std::size_t k = 0; k < alive.size(); ++k) {
      result.of[alive[k]] = measured.of[k];
      if (measured.of[k].outcome != Outcome::good) {
        note_bad(task, request.tiles[k], {measured.of[k].outcome, measured.of[k].why, {}});
        any_bad = true;
      }
    }
    if (!asked.answer.spent) {
      lost_in_a_row_ = 0;
      result.disturbed = measured.disturbed;
      return result;
    }
    if (!any_bad) {
      note_loss({Outcome::failed, "its CUDA context was lost, by no tile's doing", -1});
    }
  }
}

Measurement WorkerMeasurer::check(const Task &task, const Tile &tile) {
  for (;;) {
    if (const Measurement *bad = known_bad(task, tile)) {
      return *bad;
    }
    Result asked = ask(AskCheck{task, tile}, 1);
    if (asked.loss) {
      note_loss(*asked.loss);
      if (asked.loss->tile >= 0) {
        note_bad(task, tile, {asked.loss->outcome, asked.loss->why, {}});
      }
      continue;
    }
    if (asked.answer.spent && std::holds_alternative<Refusal>(asked.answer.value)) {
      note_loss({Outcome::failed, std::get<Refusal>(asked.answer.value).what, -1});
      continue;
    }
    Measurement measurement = take<Measurement>(asked.answer);
    if (measurement.outcome != Outcome::good) {
      note_bad(task, tile, {measurement.outcome, measurement.why, {}});
    }
    lost_in_a_row_ = 0;
    return measurement;
  }
}

PolicyRounds WorkerMeasurer::time_policies(const PolicyCalls &calls, int rounds) {
  PolicyRounds result;
  result.rounds.of.resize(calls.policies.size());
  result.density.resize(calls.policies.size());
  std::vector<std::size_t> alive(calls.policies.size());
  std::iota(alive.begin(), alive.end(), 0U);
  while (!alive.empty()) {
    AskPolicies request{{calls.problem, {}, calls.tokens}, rounds};
    for (const std::size_t policy : alive) {
      request.calls.policies.push_back(calls.policies[policy]);
    }
    Result asked = ask(request, alive.size());
    if (asked.loss) {
      note_loss(*asked.loss);
      if (asked.loss->tile >= 0) {
        const auto lost = alive.begin() + asked.loss->tile;
        result.rounds.of[*lost] = {asked.loss->outcome, asked.loss->why, {}};
        alive.erase(lost);
      }
      continue;
    }
    if (asked.answer.spent && std::holds_alternative<Refusal>(asked.answer.value)) {
      note_loss({Outcome::failed, std::get<Refusal>(asked.answer.value).what, -1});
      continue;
    }
    const PolicyRounds measured = take<PolicyRounds>(asked.answer);
    if (measured.rounds.of.size() != alive.size() || measured.density.size() != alive.size()) {
      worker_.reset();
      note_loss({Outcome::failed, "it did not answer for each policy", -1});
      continue;
    }
    std::vector<std::size_t> good;
    for (std::size_t i = 0; i < alive.size(); ++i) {
      result.rounds.of[alive[i]] = measured.rounds.of[i];
      result.density[alive[i]] = measured.density[i];
      if (measured.rounds.of[i].outcome == Outcome::good) {
        good.push_back(alive[i]);
      }
    }
    if (!asked.answer.spent) {
      lost_in_a_row_ = 0;
      result.rounds.disturbed = measured.rounds.disturbed;
      return result;
    }
    if (good.size() == alive.size()) {
      note_loss({Outcome::failed, "its CUDA context was lost, by no policy's doing", -1});
    }
    alive = std::move(good);
  }
  return result;
}

} // namespace sale::autotune
