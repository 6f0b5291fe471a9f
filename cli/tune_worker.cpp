// SPDX-License-Identifier: Apache-2.0
// sale tune-worker: the process of `sale tune` that touches the GPU. It is not for people, and so not in --help.
#include "cli/command.hpp"
#include "cli/device_choice.hpp"
#include "cli/engine_options.hpp"

#include "autotune/measure/fault_injection.hpp"
#include "autotune/measure/gpu_measurer.hpp"
#include "autotune/measure/worker_loop.hpp"
#include "sale/tuning.hpp"

#include <cstdlib>
#include <memory>
#include <optional>

#include <unistd.h>

namespace sale::cli {

namespace {

struct TuneWorkerOptions {
  std::string device = "0";
  std::string arch;
  std::string input;
  std::string tuning; ///< A record whose tiles serve whole calls; empty = none.
  EngineOptions engine;
};

int run_tune_worker(const TuneWorkerOptions &options) {
  autotune::end_with_parent();
  const int output = autotune::take_standard_output();
  Options engine = options.engine.resolve();
  engine.arch = options.arch;
  if (!options.tuning.empty()) {
    engine.tuning = load_tuning(options.tuning);
  }
  const std::optional<int> device = choose_device(options.device, engine);
  if (!device) {
    throw Error(ErrorKind::invalid_argument, "tuning needs a GPU", {.advice = "--device names one"});
  }
  autotune::MeasureSettings settings;
  settings.input.file = options.input;
  autotune::GpuMeasurer measurer(*device, engine, settings);
  const auto spent = [&] { return measurer.poisoned(); };
  if (const char *fault = std::getenv("SALE_TUNE_FAULT"); fault != nullptr && *fault != '\0') {
    autotune::FaultInjection faulty(measurer, autotune::parse_fault(fault), engine);
    autotune::serve(STDIN_FILENO, output, faulty, spent);
  } else {
    autotune::serve(STDIN_FILENO, output, measurer, spent);
  }
  return exit_ok;
}

} // namespace

void add_tune_worker(CLI::App &app, Command &command) {
  auto options = std::make_shared<TuneWorkerOptions>();
  CLI::App *sub = app.add_subcommand("tune-worker", "What `sale tune` measures with; it speaks JSON");
  sub->group(""); // hidden
  sub->add_option("--device", options->device, "As of sale tune");
  sub->add_option("--arch", options->arch, "As of sale tune");
  sub->add_option("--tuning", options->tuning, "A record whose tiles serve whole calls");
  sub->add_option("--input", options->input, "As of sale tune");
  options->engine.add_cache_dir_to(*sub);
  options->engine.add_nvrtc_to(*sub);
  options->engine.add_driver_to(*sub);
  options->engine.add_jobs_to(*sub);
  sub->callback([&command, options] { command = [options] { return run_tune_worker(*options); }; });
}

} // namespace sale::cli
