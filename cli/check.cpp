// SPDX-License-Identifier: Apache-2.0
// sale check: kernels against the CPU oracle, executed by the emulator or on a GPU.
#include "check/covering_set.hpp"
#include "check/emulator_controls.hpp"
#include "check/run_case.hpp"
#include "cli/command.hpp"
#include "cli/device_choice.hpp"
#include "cli/engine_options.hpp"
#include "core/parallel_for.hpp"
#include "runtime/arch_choice.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>
#include <set>

namespace sale::cli {

namespace {

using check::CaseResult;
using check::CheckCase;
using Clock = std::chrono::steady_clock;

struct CheckOptions {
  std::string spec;
  bool full = false;
  bool list = false;
  std::string device = "emulator";
  std::string arch;
  std::string only;
  std::uint64_t seed = 0;
  int jobs = 0;
  EngineOptions engine;
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Prints as cases end, and counts.
class Progress {
public:
  explicit Progress(std::size_t total) : total_(total) {}

  void show(const CheckCase &c, const CaseResult &result, double seconds) {
    const std::scoped_lock lock(mutex_);
    ++done_;
    const bool passed = result.problems.empty();
    failed_ += passed ? 0 : 1;
    for (const KernelInfo &kernel : result.kernels) {
      kernels_.insert(kernel.name);
    }
    fmt::print("[{:>{}}/{}] {} {:6.1f} s  {}\n", done_, std::to_string(total_).size(), total_,
               passed ? "ok    " : "FAILED", seconds, c.describe());
    for (const std::string &problem : result.problems) {
      fmt::print("{}\n", problem);
    }
    if (!passed) {
      fmt::print("To see this alone, give these lines to sale check --spec:\n{}\n", c.yaml());
    }
    std::fflush(stdout);
  }

  int failed() const { return failed_; }
  std::size_t kernels() const { return kernels_.size(); }

private:
  std::mutex mutex_;
  std::size_t total_;
  std::size_t done_ = 0;
  int failed_ = 0;
  std::set<std::string> kernels_;
};

// --arch chooses among cases that name their architecture, and is that of those that don't.
std::vector<CheckCase> cases_of(const CheckOptions &options) {
  std::vector<CheckCase> cases = !options.spec.empty() ? check::load_cases(options.spec)
                                 : options.full        ? check::full_product()
                                                       : check::covering_set();
  if (!options.arch.empty()) {
    parse_arch(options.arch);
    for (CheckCase &c : cases) {
      c.arch = c.arch.empty() ? options.arch : c.arch;
    }
    std::erase_if(cases, [&](const CheckCase &c) { return c.arch != options.arch; });
  }
  std::erase_if(cases, [&](const CheckCase &c) { return c.describe().find(options.only) == std::string::npos; });
  return cases;
}

// Drops, with a word about it, what a real GPU is too old for.
void keep_runnable(std::vector<CheckCase> &cases, const Device &device) {
  const std::size_t dropped = std::erase_if(cases, [&](const CheckCase &c) {
    try {
      choose_target(c.arch, device.major(), device.minor(), device.driver().emulated());
      return false;
    } catch (const Error &) {
      return true;
    }
  });
  if (dropped != 0) {
    fmt::print("{} cases left out: {} cannot run kernels of their architecture\n", dropped, device.name());
  }
}

// The emulator compiles: a missing clang is said once, not by every case.
void require_compiler(const Device &device) {
  const Driver &driver = device.driver();
  if (driver.emulated()) {
    const CurrentContext current(device);
    cu::Module module = nullptr;
    driver.check(driver.api.module_load(&module, "", 0, nullptr, nullptr), "cuModuleLoadDataEx", ErrorKind::load, {});
    driver.api.module_unload(module);
  }
}

// Nothing checked must not look like nothing wrong.
void require_some(const std::vector<CheckCase> &cases, const char *advice) {
  if (cases.empty()) {
    throw Error(ErrorKind::invalid_argument, "there is no case to check", {.advice = advice});
  }
}

int run_check(const CheckOptions &options) {
  std::vector<CheckCase> cases = cases_of(options);
  require_some(cases, "--arch and --only leave those that --list shows: name others, or none");
  if (options.list) {
    for (const CheckCase &c : cases) {
      fmt::print("{}\n", c.describe());
    }
    fmt::print("{} cases\n", cases.size());
    return exit_ok;
  }
  Options engine = options.engine.resolve();
  const std::optional<int> ordinal = choose_device(options.device, engine);
  if (!ordinal) {
    throw Error(ErrorKind::invalid_argument, "sale check needs a device: emulator, or the number of a GPU");
  }
  const auto driver = Driver::open(engine.cuda_driver);
  const Device device(driver, *ordinal);
  require_compiler(device);
  keep_runnable(cases, device);
  require_some(cases, "name another device: the emulator runs all of them");

  const check::EmulatorControls emulator(*driver);
  emulator.set_seed(options.seed);
  emulator.set_workers(options.jobs != 1 && cases.size() > 1 ? 1 : 0);
  engine.jobs = 1;
  Progress progress(cases.size());
  const auto start = Clock::now();
  const auto check_one = [&](std::int64_t i) {
    const CheckCase &c = cases[static_cast<std::size_t>(i)];
    const auto begin = Clock::now();
    const CaseResult result = check::run_case(c, driver, *ordinal, engine);
    progress.show(c, result, seconds_since(begin));
  };
  parallel_for(static_cast<std::int64_t>(cases.size()), check_one, options.jobs);

  const double seconds = seconds_since(start);
  fmt::print("{} cases, {} failed, {} kernels, {:.0f} s", cases.size(), progress.failed(), progress.kernels(), seconds);
  if (const auto products = emulator.products()) {
    fmt::print(", {} tensor-core instructions ({:.0f} a second)", *products, static_cast<double>(*products) / seconds);
  }
  fmt::print("\n");
  return progress.failed() == 0 ? exit_ok : exit_check_not_met;
}

} // namespace

void add_check(CLI::App &app, Command &command) {
  auto options = std::make_shared<CheckOptions>();
  CLI::App *sub = app.add_subcommand("check", "Run kernels on the emulator or a GPU and compare with the CPU oracle");
  auto *spec = sub->add_option("--spec", options->spec, "YAML of one case or several (default: the covering set)");
  sub->add_flag("--full", options->full, "Every kernel there is, in small cases: about an hour")->excludes(spec);
  sub->add_flag("--list", options->list, "Only print the cases");
  sub->add_option("--device", options->device, "emulator or the number of a GPU")->capture_default_str();
  sub->add_option("--arch", options->arch, "Only the cases of this architecture");
  sub->add_option("--only", options->only, "Only the cases whose line, as --list prints it, has this text");
  sub->add_option("--seed", options->seed, "Emulator: run threads and copies in a random order drawn from this");
  sub->add_option("--jobs", options->jobs, "Cases at once; 0 = one per core")->check(CLI::Range(0, 1024));
  options->engine.add_cache_dir_to(*sub);
  options->engine.add_nvrtc_to(*sub);
  options->engine.add_driver_to(*sub);
  sub->callback([&command, options] { command = [options] { return run_check(*options); }; });
}

} // namespace sale::cli
