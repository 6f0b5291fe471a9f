// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/gpu_measurer.hpp"

#include "autotune/measure/policy_bench.hpp"
#include "autotune/model/micro_benchmark.hpp"
#include "check/run_case.hpp"
#include "runtime/arch_choice.hpp"
#include "runtime/nvrtc.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>

namespace sale::autotune {

namespace {

using Clock = std::chrono::steady_clock;

constexpr cu::DeviceAttribute l2_cache_bytes{38};
constexpr std::chrono::milliseconds idle_time{20}; // after which clocks may have fallen

std::size_t l2_of(const Device &of) {
  const CurrentContext current(of);
  const cu::Api &api = of.driver().api;
  cu::Device device = 0;
  int bytes = 0;
  const bool known =
      api.context_device(&device) == cu::success && api.device_attribute(&bytes, l2_cache_bytes, device) == cu::success;
  return known ? static_cast<std::size_t>(std::max(bytes, 0)) : 0;
}

// Empty where there is none: kernels may all be in the cache.
std::string nvrtc_version(const Options &options) {
  try {
    return Nvrtc::open(locate_nvrtc(options.nvrtc))->version();
  } catch (const Error &) {
    return "";
  }
}

bool is_good(const Measurement &measurement) { return measurement.outcome == Outcome::good; }

// Another one in each round, the same in each run: a kernel leaves heat and clocks to the one after it, which must not
// always be the same.
std::vector<std::size_t> order_of_round(unsigned round, std::size_t tiles) {
  std::vector<std::size_t> order(tiles);
  std::iota(order.begin(), order.end(), 0U);
  std::mt19937 random(round);
  for (std::size_t left = tiles; left > 1; --left) {
    std::swap(order[left - 1], order[random() % left]);
  }
  return order;
}

} // namespace

GpuMeasurer::GpuMeasurer(int device, Options options, MeasureSettings settings)
    : options_(std::move(options)), settings_(std::move(settings)), driver_(Driver::open(options_.cuda_driver)),
      device_(std::make_shared<const Device>(driver_, device)),
      gpu_{device_->name(), choose_target(options_.arch, device_->major(), device_->minor(), driver_->emulated()).arch,
           device_->multiprocessors()},
      l2_bytes_(l2_of(*device_)), clocks_(*device_), inputs_(device_, settings_.input), masks_(device_) {
  options_.cuda_driver = driver_->file();
  flushed_ = DeviceArray(device_, settings_.flush_bytes.value_or(2 * l2_bytes_));
}

GpuMeasurer::~GpuMeasurer() = default;

TuningFacts GpuMeasurer::facts() {
  TuningFacts facts;
  const auto add = [&](const char *name, double value) {
    if (value > 0) {
      facts[name] = fmt::format("{:g}", value);
    }
  };
  add("sm_mhz", clocks_.median_sm_mhz());
  add("memory_mhz", clocks_.memory_mhz());
  add("power_limit_watts", clocks_.power_limit_watts());
  facts["l2_bytes"] = fmt::format("{}", l2_bytes_);
  facts["cuda"] = driver_->version();
  if (!no_parameters_.empty()) {
    facts["cost_model"] = fmt::format("with assumed parameters: {}", no_parameters_);
  }
  if (!clocks_.driver_version().empty()) {
    facts["driver"] = clocks_.driver_version();
  }
  if (const std::string version = nvrtc_version(options_); !version.empty()) {
    facts["nvrtc"] = version;
  }
  return facts;
}

GpuParameters GpuMeasurer::parameters() {
  require_alive();
  if (!driver_->emulated()) {
    try {
      const CurrentContext scope(*device_);
      return measure_parameters(device_, gpu_.arch, options_);
    } catch (const Error &error) { // the model ranks well enough with assumed ones
      note_poison();
      no_parameters_ = error.what();
    }
  }
  return assumed_parameters(gpu_.arch, gpu_.multiprocessors);
}

void GpuMeasurer::require_alive() const {
  if (poisoned_) {
    throw Error(ErrorKind::launch, "a kernel that faulted has left this process without a usable CUDA context",
                {.advice = "go on in a new process"});
  }
}

TaskBench &GpuMeasurer::bench_of(const Task &task) {
  if (task.kernel.arch != gpu_.arch) {
    throw Error(ErrorKind::invalid_argument, fmt::format("the task's kernels are for {}, but the device's are for {}",
                                                         task.kernel.arch.name(), gpu_.arch.name()));
  }
  if (bench_ == nullptr || bench_->name() != TaskBench::name_of(task)) {
    bench_.reset();
    begin({Work::data});
    with_memory([&] { bench_ = std::make_unique<TaskBench>(device_, options_, gpu_, task, inputs_, masks_, memory_); });
  }
  return *bench_;
}

void GpuMeasurer::with_memory(const std::function<void()> &make) {
  try {
    try {
      make();
    } catch (const Error &error) {
      if (!is_out_of_memory(error)) {
        throw;
      }
      inputs_.forget(); // those of other lengths
      masks_.forget();
      memory_ = {};
      make();
    }
  } catch (const Error &) {
    note_poison();
    throw;
  }
}

void GpuMeasurer::note_failure(const Error &error, Measurement &measurement) {
  if (error.kind() == ErrorKind::cancelled) {
    throw Error(error);
  }
  measurement = {Outcome::failed, error.what(), {}};
  note_poison();
}

void GpuMeasurer::note_poison() { poisoned_ = driver_->api.stream_synchronize(nullptr) != cu::success; }

Measurement GpuMeasurer::outcome_of(const std::function<std::string()> &work) {
  Measurement measurement;
  try {
    const std::string problem = work();
    if (!problem.empty()) {
      measurement = {Outcome::wrong, problem, {}};
    }
  } catch (const Error &error) {
    note_failure(error, measurement);
  }
  return measurement;
}

void GpuMeasurer::load(TaskBench &bench, const std::vector<Tile> &tiles, std::size_t tile) {
  begin({Work::load, static_cast<int>(tile)});
  bench.load(tiles[tile]);
  begin({Work::run, static_cast<int>(tile)});
}

void GpuMeasurer::flush() {
  if (flushed_.bytes() != 0) {
    driver_->check(driver_->api.fill_words(reinterpret_cast<cu::Address>(flushed_.data()), ++flush_value_,
                                           flushed_.bytes() / sizeof(flush_value_), nullptr),
                   "cuMemsetD32Async");
  }
}

bool GpuMeasurer::take_round(const Turns &turns, unsigned round, std::vector<Measurement> &of, RoundTimes &times) {
  times.assign(turns.count, 0);
  for (const std::size_t turn : order_of_round(round, turns.count)) {
    if (!is_good(of[turn])) {
      continue;
    }
    try {
      begin({Work::run, static_cast<int>(turn)});
      times[turn] = turns.time(turn);
    } catch (const Error &error) {
      note_failure(error, of[turn]);
      if (poisoned_) {
        return false;
      }
    }
  }
  busy_until_ = Clock::now();
  return true;
}

void GpuMeasurer::warm_up(const Turns &turns, std::vector<Measurement> &of) {
  const Clock::time_point begin = Clock::now();
  const std::chrono::duration<double> enough(begin - busy_until_ > idle_time ? settings_.warmup_seconds : 0);
  RoundTimes times;
  do {
    if (!take_round(turns, 0, of, times)) {
      return;
    }
  } while (Clock::now() - begin < enough && std::any_of(of.begin(), of.end(), is_good));
}

Rounds GpuMeasurer::take(const Turns &turns, int rounds) {
  Rounds result;
  for (std::size_t i = 0; i < turns.count; ++i) {
    result.of.push_back(poisoned_ ? Measurement{} : outcome_of([&] { return turns.first(i); }));
  }
  if (!poisoned_) {
    warm_up(turns, result.of);
  }
  unsigned round = 0;
  const TakenRounds taken = undisturbed_rounds(
      static_cast<std::size_t>(std::max(rounds, 0)),
      [&]() -> std::optional<RoundTimes> {
        RoundTimes times;
        if (poisoned_ || !take_round(turns, round++, result.of, times)) {
          return std::nullopt;
        }
        return times;
      },
      [this] { return clocks_.is_slowed(); });
  result.disturbed = taken.disturbed;
  for (std::size_t turn = 0; turn < turns.count; ++turn) {
    for (const RoundTimes &taken_round : taken.rounds) {
      if (is_good(result.of[turn])) {
        result.of[turn].ms.push_back(taken_round[turn]);
      }
    }
  }
  return result;
}

Rounds GpuMeasurer::measure(const Task &task, const std::vector<Tile> &tiles, int rounds) {
  require_alive();
  const CurrentContext current(*device_);
  TaskBench &bench = bench_of(task);
  return take({tiles.size(),
               [&](std::size_t i) {
                 load(bench, tiles, i);
                 return bench.compare_once(tiles[i]);
               },
               [&](std::size_t i) { return bench.time(tiles[i], [this] { flush(); }); }},
              rounds);
}

PolicyRounds GpuMeasurer::time_policies(const PolicyCalls &calls, int rounds) {
  require_alive();
  const CurrentContext current(*device_);
  bench_.reset();
  begin({Work::data});
  std::unique_ptr<PolicyBench> bench;
  with_memory([&] { bench = std::make_unique<PolicyBench>(device_, options_, calls, inputs_, memory_); });
  PolicyRounds result;
  result.density.resize(calls.policies.size());
  result.rounds = take({calls.policies.size(),
                        [&](std::size_t i) {
                          begin({Work::load, static_cast<int>(i)});
                          bench->load(i);
                          begin({Work::run, static_cast<int>(i)});
                          result.density[i] = bench->density(i);
                          return std::string();
                        },
                        [&](std::size_t i) { return bench->time(i, [this] { flush(); }); }},
                       rounds);
  return result;
}

Measurement GpuMeasurer::check(const Task &task, const Tile &tile) {
  require_alive();
  const CurrentContext current(*device_);
  TaskBench &bench = bench_of(task);
  Measurement on_full_shape = outcome_of([&] {
    load(bench, {tile}, 0);
    return bench.compare(tile);
  });
  if (!is_good(on_full_shape)) {
    return on_full_shape;
  }
  KernelSpec kernel = task.kernel;
  kernel.tile = tile;
  const std::string name = fmt::format("{}; {}", kernel.describe(), policy_text(task.policy));
  if (oracle_agrees_.contains(name)) {
    return {};
  }
  begin({Work::oracle, 0});
  Measurement measurement = against_oracle(task, tile);
  if (is_good(measurement)) {
    oracle_agrees_.insert(name);
  }
  return measurement;
}

Measurement GpuMeasurer::against_oracle(const Task &task, const Tile &tile) {
  Options with = options_;
  with.tuning = record_with(gpu_, task.kernel, tile);
  for (const check::CheckCase &c : oracle_cases(task)) {
    const check::CaseResult result = check::run_case(c, driver_, -1, with);
    note_poison();
    if (!result.problems.empty()) {
      const bool ran = !poisoned_ && !result.kernels.empty();
      return {ran ? Outcome::wrong : Outcome::failed, fmt::format("{}: {}", c.describe(), result.problems.front()), {}};
    }
    if (!has_tile(result.kernels, task.kernel, tile)) {
      return {Outcome::failed, fmt::format("{}: the tile is not in the plan", c.describe()), {}};
    }
  }
  return {};
}

} // namespace sale::autotune
