// SPDX-License-Identifier: Apache-2.0
// sale tune: the fastest tile of each kernel on this GPU, measured, into a tuning record (docs/tuning.md).
#include "autotune/measure/worker_measurer.hpp"
#include "autotune/search/build_record.hpp"
#include "autotune/search/tuner.hpp"
#include "cli/command.hpp"
#include "cli/interruption.hpp"
#include "cli/output.hpp"
#include "cli/timed_measurer.hpp"
#include "cli/tune_options.hpp"
#include "cli/tune_policy.hpp"
#include "cli/tune_progress.hpp"
#include "cli/tune_record.hpp"
#include "cli/tune_report.hpp"
#include "runtime/nvrtc.hpp"

#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <memory>
#include <optional>

#include <poll.h>
#include <unistd.h>

namespace sale::cli {

namespace {

constexpr const char *dry_run_arch = "sm_90a";

class Stopwatch {
public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Whoever holds the other end of standard input is gone, or has closed it.
bool input_has_ended() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  if (::poll(&input, 1, 0) <= 0) {
    return false;
  }
  char byte = 0;
  return ::read(STDIN_FILENO, &byte, 1) <= 0;
}

// Empty where tiles can be compiled, else why not.
std::string why_no_compiler(const TuneOptions &options, const Options &engine) {
  if (options.no_compile) {
    return "--no-compile";
  }
  if (options.device == "emulator" && !options.dry_run) {
    return "the emulator runs sources";
  }
  try {
    Nvrtc::open(locate_nvrtc(engine.nvrtc));
    return "";
  } catch (const Error &error) {
    return error.what();
  }
}

void print_report(const TuneOptions &options, const TuneReport &report) {
  if (options.json != "-") {
    write_text("", tune_report_text(report));
  }
  if (!options.json.empty()) {
    write_text(options.json, tune_report_json(report));
  }
}

// Null where nothing can be compiled.
std::unique_ptr<KernelFactory> make_factory(const TuneOptions &options, const Options &engine, TuneReport &report) {
  report.not_compiled = why_no_compiler(options, engine);
  return report.not_compiled.empty() ? std::make_unique<KernelFactory>(engine) : nullptr;
}

// What the model chooses, for a GPU that nobody has measured.
GpuTuning modelled_tuning(const TuneReport &report, const std::vector<autotune::TuneBucket> &buckets) {
  std::vector<autotune::Decision> decisions;
  for (const ModelRanking &ranking : report.rankings) {
    autotune::Decision &decision = decisions.emplace_back();
    decision.task = ranking.task;
    decision.tile = ranking.best().tile;
    decision.left_out = "chosen by the cost model";
  }
  return autotune::build_tuning(report.gpu, {{"chosen by", "the cost model alone; nothing was measured"}}, buckets,
                                decisions);
}

int dry_run(const TuneOptions &options) {
  const Stopwatch watch;
  const Arch arch = parse_arch(options.arch.empty() ? dry_run_arch : options.arch);
  const std::vector<autotune::TuneBucket> buckets = options.buckets(arch);
  if (!options.output.empty() && options.gpu.empty()) {
    throw Error(ErrorKind::invalid_argument,
                "--output of a dry run needs --gpu NAME, the name that sale info gives the GPU that the record is for");
  }
  TuneReport report;
  report.dry_run = true;
  report.parameters = autotune::assumed_parameters(arch, options.multiprocessors);
  report.gpu = {options.gpu.empty() ? "no GPU" : options.gpu, arch, report.parameters.multiprocessors};
  const Options engine = options.engine.resolve();
  const std::unique_ptr<KernelFactory> factory = make_factory(options, engine, report);
  const Interruption interruption;
  TuneProgressLine line;
  try {
    const TuneShortlists shortlists(
        buckets, factory.get(), engine.jobs, [&] { return interruption.signal() != 0; },
        [&](const std::string &text) { line.show(text); });
    line.erase();
    for (const autotune::TuneBucket &bucket : buckets) {
      report.rankings.push_back({bucket.task, shortlists.candidates(bucket.task, report.parameters)});
    }
    if (!options.output.empty()) {
      report.record = tuning_output(options.output).string();
      add_to_record(report.record, modelled_tuning(report, buckets));
    }
    report.shortlists = &shortlists;
    report.wall_seconds = watch.seconds();
    print_report(options, report);
    return exit_ok;
  } catch (const Error &error) {
    if (error.kind() != ErrorKind::cancelled) {
      throw;
    }
  }
  line.erase();
  fmt::print(stderr, "sale: stopped; what is compiled is in the cache, and the same command goes on\n");
  return exit_by_signal + interruption.signal();
}

class TuneRun {
public:
  TuneRun(const TuneOptions &options, std::filesystem::path output)
      : options_(options), engine_(options.engine.resolve()), output_(std::move(output)) {
    engine_.arch = options.arch;
  }

  int run() {
    autotune::WorkerMeasurer worker(worker_options());
    TimedMeasurer measurer(worker);
    report_.gpu = gpu_of(measurer);
    report_.facts = measurer.facts();
    autotune::TuneRequest request;
    request.buckets = options_.buckets(report_.gpu.arch);
    request.settings = options_.search;
    request.earlier = earlier_records(options_.start_from, output_);
    request.journal = journal();
    request.resume = options_.resume;
    const std::unique_ptr<KernelFactory> factory = make_factory(options_, engine_, report_);
    const TuneShortlists shortlists(request.buckets, factory.get(), engine_.jobs, cancelled(),
                                    [this](const std::string &text) { line_.show(text); });
    report_.shortlists = &shortlists;
    report_.parameters = measurer.parameters();
    request.candidates_of = [&](const autotune::Task &task) { return shortlists.candidates(task, report_.parameters); };
    autotune::TuneResult result = autotune::tune(
        request, measurer, [this](const autotune::TuneProgress &progress) { note(progress); }, cancelled());
    line_.erase();
    if (!result.complete && is_cancelled()) {
      return stopped();
    }
    if (!result.gpu.kernels.empty()) {
      add_to_record(output_, result.gpu);
      report_.record = output_.string();
    }
    report_.decisions = std::move(result.decisions);
    report_.stopped = result.stopped;
    report_.measure_seconds = measurer.measure_seconds();
    report_.check_seconds = measurer.check_seconds();
    report_.restarts = worker.restarts();
    report_.wall_seconds = watch_.seconds();
    if (result.complete) { // then the record says all that it did
      std::error_code ignored;
      std::filesystem::remove(request.journal, ignored);
    }
    print_report(options_, report_);
    return options_.propose_policy.empty() ? exit_ok : propose();
  }

  // Told to, here or by an Error(cancelled).
  int stopped() {
    line_.erase();
    if (buckets_ == 0) {
      fmt::print(stderr, "sale: stopped before anything was measured; what is compiled is in the cache\n");
    } else {
      fmt::print(stderr,
                 "sale: stopped; {} of {} buckets are decided and kept in {}; the same command with --resume goes on, "
                 "and no record was written\n",
                 decided_, buckets_, journal().string());
    }
    return exit_of_signal();
  }

private:
  std::filesystem::path journal() const { return output_.string() + ".journal"; }

  // With the record's tiles in effect. The record is written by now, whatever comes of this.
  int propose() {
    autotune::WorkerOptions with_record = worker_options();
    if (!report_.record.empty()) {
      with_record.arguments.insert(with_record.arguments.end(), {"--tuning", report_.record});
    }
    autotune::WorkerMeasurer worker(with_record);
    try {
      const autotune::Proposal proposal = autotune::propose_policy(
          proposal_request(options_, report_.gpu.arch), worker,
          [this](const std::string &step) { line_.show("policies: " + step); }, cancelled());
      line_.erase();
      write_proposal(options_, proposal, report_.gpu);
      if (options_.json != "-") {
        write_text("", proposal_text(proposal));
      }
      return exit_ok;
    } catch (const Error &error) {
      if (error.kind() != ErrorKind::cancelled) {
        throw;
      }
    }
    line_.erase();
    fmt::print(stderr, "sale: stopped; the tiles are tuned, and no policy is proposed\n");
    return exit_of_signal();
  }

  int exit_of_signal() const {
    return exit_by_signal + (interruption_.signal() != 0 ? interruption_.signal() : SIGTERM);
  }

  void note(const autotune::TuneProgress &progress) {
    buckets_ = progress.buckets;
    decided_ = progress.bucket + (progress.decided != nullptr ? 1 : 0);
    line_.show(progress);
  }

  bool is_cancelled() const {
    return interruption_.signal() != 0 || (options_.stop_at_end_of_input && input_has_ended());
  }
  std::function<bool()> cancelled() const {
    return [this] { return is_cancelled(); };
  }

  static autotune::GpuId gpu_of(autotune::Measurer &measurer) {
    try {
      return measurer.gpu();
    } catch (const Error &error) {
      if (error.kind() == ErrorKind::cancelled) {
        throw;
      }
      throw Error(error.kind(), fmt::format("there is no GPU to measure on: {}", error.what()),
                  {.advice = "sale tune --dry-run ranks the tiles without one"});
    }
  }

  // The words of `sale tune-worker`: what this command was told of the device and where kernels come from.
  autotune::WorkerOptions worker_options() const {
    autotune::WorkerOptions worker;
    const auto add = [&](const char *name, const std::string &value) {
      if (!value.empty()) {
        worker.arguments.insert(worker.arguments.end(), {name, value});
      }
    };
    add("--device", options_.device);
    add("--arch", options_.arch);
    add("--input", options_.input);
    add("--cache-dir", options_.engine.cache_dir);
    add("--nvrtc", options_.engine.nvrtc);
    add("--cuda-driver", options_.engine.cuda_driver);
    worker.cancelled = cancelled();
    return worker;
  }

  const TuneOptions &options_;
  Options engine_;
  std::filesystem::path output_;
  const Stopwatch watch_;
  const Interruption interruption_;
  TuneProgressLine line_;
  TuneReport report_;
  std::size_t buckets_ = 0; ///< Known once the first is begun.
  std::size_t decided_ = 0;
};

int measure(const TuneOptions &options) {
  options.buckets(parse_arch(options.arch.empty() ? dry_run_arch : options.arch)); // says what is wrong before any work
  const std::filesystem::path output = tuning_output(options.output);
  if (!options.json.empty() && options.json != "-") {
    require_writable_path(options.json);
  }
  if (!options.propose_policy.empty()) {
    require_proposal_possible(options, parse_arch(options.arch.empty() ? dry_run_arch : options.arch));
  }
  TuneRun run(options, output);
  try {
    return run.run();
  } catch (const Error &error) {
    if (error.kind() != ErrorKind::cancelled) {
      throw;
    }
    return run.stopped();
  }
}

int run_tune(const TuneOptions &options) {
  if (options.show_space) {
    write_text("", autotune::SearchSpace::shipped().text());
    return exit_ok;
  }
  return options.dry_run ? dry_run(options) : measure(options);
}

} // namespace

void add_tune(CLI::App &app, Command &command) {
  auto options = std::make_shared<TuneOptions>();
  CLI::App *sub = app.add_subcommand("tune", "Measure which tiles are fastest on this GPU, and keep them as a record");
  options->add_to(*sub);
  sub->callback([&command, options] { command = [options] { return run_tune(*options); }; });
}

} // namespace sale::cli
