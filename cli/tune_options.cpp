// SPDX-License-Identifier: Apache-2.0
#include "cli/tune_options.hpp"

#include "bench/variant.hpp"
#include "io/model.hpp"
#include "io/names.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace sale::cli {

namespace {

constexpr double densest_band = 0.6;

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

std::vector<io::Model> load_models(const TuneOptions &options) {
  if (!options.models.empty() + !options.problem.empty() + options.shape.given() != 1) {
    refuse("say what to tune for in one way: --model NAME, --model config.json, --model FOLDER, --problem FILE or "
           "--heads, --kv-heads and --head-dim");
  }
  std::optional<DType> dtype;
  if (!options.dtype.empty()) {
    dtype = io::parse_dtype(options.dtype);
  }
  if (!options.problem.empty()) {
    return {io::load_problem(options.problem, dtype)};
  }
  if (options.shape.given()) {
    io::Model model{"this shape", 0, options.shape.resolve()};
    model.problem.dtype = dtype.value_or(model.problem.dtype);
    return {model};
  }
  std::vector<io::Model> models;
  std::transform(options.models.begin(), options.models.end(), std::back_inserter(models),
                 [&](const std::string &name) { return io::load_model(name, dtype); });
  return models;
}

// Kernels of fixed channels are the same whichever they are.
void fix_channels(Policy &policy, const Problem &problem) {
  if (policy.estimate_dim == 0) {
    refuse("--fixed-channels needs an estimate of fewer channels: --estimator fp8 and --estimate-dim");
  }
  policy.channels.resize(static_cast<std::size_t>(problem.num_kv_heads) *
                         static_cast<std::size_t>(policy.estimate_dim));
  for (std::size_t i = 0; i < policy.channels.size(); ++i) {
    policy.channels[i] = static_cast<int>(i % static_cast<std::size_t>(policy.estimate_dim));
  }
}

std::vector<Policy> policies_of(const TuneOptions &options, const Problem &problem, const Arch &arch) {
  Policy base = options.policy.resolve(problem);
  std::vector<std::string> words = options.estimators;
  const bool says_an_estimate = options.policy.estimator || options.policy.estimate_dim ||
                                options.policy.prune_queries || !options.policy.file.empty();
  if (words.empty() && (says_an_estimate || !arch.has_wgmma())) {
    if (options.fixed_channels && base.channels.empty()) {
      fix_channels(base, problem);
    }
    return {base};
  }
  if (words.empty()) {
    words = {"int8", "fp8"};
  }
  if (says_an_estimate || options.fixed_channels) {
    refuse("--estimators names the estimates to tune for; it goes without --estimator, --estimate-dim, "
           "--prune-queries, --fixed-channels and --policy-file");
  }
  std::vector<Policy> policies;
  for (const std::string &word : words) {
    policies.push_back(bench::parse_estimate(word, base));
    validate(policies.back(), problem);
  }
  return policies;
}

} // namespace

void TuneOptions::add_to(CLI::App &app) {
  const std::string input_group = "What to tune for";
  app.add_option("--model", models, "Models that libsale knows, or paths of their config.json or folders")
      ->delimiter(',')
      ->group(input_group);
  app.add_option("--problem", problem, "YAML with dtype, head_dim, num_q_heads, num_kv_heads")->group(input_group);
  app.add_option("--dtype", dtype, "bf16 or f16 instead of what the model says")->group(input_group);
  app.add_option("--lengths", lengths, "Powers of two, e.g. 8192 or 8K; each stands for those down to its half")
      ->delimiter(',')
      ->capture_default_str()
      ->group(input_group);
  app.add_option("--estimators", estimators,
                 "Estimates, e.g. int8,fp8,fp8/64,fp8/2:4 (/64: channels, /2:4: pruned queries); default the policy's, "
                 "without one int8, and fp8 on sm_90a")
      ->delimiter(',')
      ->group(input_group);
  app.add_option("--densities", densities,
                 "Of sparse masks that get a band of their own, beside what the policy keeps; 0 = none")
      ->delimiter(',')
      ->check(CLI::Range(0.0, densest_band))
      ->capture_default_str()
      ->group(input_group);
  app.add_option("--input", input, "Safetensors with q, k and v to measure with, instead of structured data")
      ->check(CLI::ExistingFile)
      ->group(input_group);
  shape.add_to(app);
  policy.add_to(app);
  app.add_flag("--fixed-channels", fixed_channels, "fp8: the policy brings the channels")
      ->group("Policy (decides results)");

  const std::string search_group = "Search";
  app.add_option("--candidates", search.candidates, "Tiles measured of each bucket, beside the default")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str()
      ->group(search_group);
  app.add_option("--rounds", search.block_rounds, "Rounds, at least, of each of the two blocks that decide")
      ->check(CLI::Range(3, 1000))
      ->capture_default_str()
      ->group(search_group);
  app.add_option("--bucket-seconds", search.task_seconds, "That the rounds of each step of a bucket may fill")
      ->check(CLI::Range(0.0, 1e4))
      ->capture_default_str()
      ->group(search_group);
  app.add_option("--budget", search.budget_seconds, "Seconds for all measurements; 0 = no limit")
      ->check(CLI::Range(0.0, 1e7))
      ->capture_default_str()
      ->group(search_group);
  app.add_flag("--resume", resume, "Go on where the same command was stopped")->group(search_group);
  app.add_option("--start-from", start_from,
                 "A record whose tiles are tried too, whoever measured it; layers: those in effect; none")
      ->capture_default_str()
      ->group(search_group);
  app.add_flag("--stop-at-end-of-input", stop_at_end_of_input, "Stop, as after Ctrl-C, when standard input ends")
      ->group(search_group);

  app.add_option("--device", device, "Number of a GPU, or emulator (tiny lengths; its times mean nothing)")
      ->check(CLI::NonNegativeNumber | CLI::IsMember({"emulator"}))
      ->capture_default_str();
  app.add_option("--arch", arch, "Tune kernels of this architecture instead of the device's own (dry run: sm_90a)");
  app.add_option("-o,--output", output, "The record, which is added to what the file has (default: the user's own)");
  app.add_option("--propose-policy", propose_policy,
                 "Afterwards measure other policies too, and write the fastest that is as good; nothing uses the file");
  app.add_option("--json", json, "Machine-readable report, to a file, or - for standard output");

  const std::string dry_group = "Without a GPU";
  auto *dry_flag = app.add_flag("--dry-run", dry_run, "Measure nothing: what the space has and what the model says")
                       ->excludes("--resume")
                       ->excludes("--propose-policy")
                       ->group(dry_group);
  app.add_flag("--no-compile", no_compile, "Nor compile anything")->needs(dry_flag)->group(dry_group);
  auto *gpu_option =
      app.add_option("--gpu", gpu, "With --output: a record for this GPU, by the name sale info gives it")
          ->needs(dry_flag)
          ->group(dry_group);
  app.add_option("--multiprocessors", multiprocessors, "Of that GPU (default: of the architecture's usual one)")
      ->check(CLI::Range(1, 10000))
      ->needs(dry_flag)
      ->group(dry_group);
  gpu_option->needs("--output");
  app.add_flag("--show-space", show_space, "Print the space of tiles and its constraints, and do nothing else")
      ->group(dry_group);

  engine.add_cache_dir_to(app);
  engine.add_nvrtc_to(app);
  engine.add_driver_to(app);
  engine.add_jobs_to(app);
}

std::vector<NamedNeed> TuneOptions::needs(const Arch &on) const {
  std::vector<NamedNeed> needs;
  for (const io::Model &model : load_models(*this)) {
    for (Policy &each : policies_of(*this, model.problem, on)) {
      needs.push_back({model.name, {model.problem, std::move(each), {}}});
    }
  }
  return needs;
}

std::vector<int> TuneOptions::tokens() const {
  std::vector<int> tokens;
  std::transform(lengths.begin(), lengths.end(), std::back_inserter(tokens), bench::parse_length);
  return tokens;
}

std::vector<autotune::DensityBand> TuneOptions::bands() const {
  std::vector<double> ascending = densities;
  std::sort(ascending.begin(), ascending.end());
  ascending.erase(std::unique(ascending.begin(), ascending.end()), ascending.end());
  std::vector<autotune::DensityBand> bands;
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    if (ascending[i] == 0) {
      continue;
    }
    // A band ends between its density and the next, where that is near.
    const double next = i + 1 < ascending.size() ? ascending[i + 1] : 1;
    const double end = std::min(1.6 * ascending[i], std::sqrt(ascending[i] * next));
    bands.push_back({static_cast<float>(std::round(end * 1e4) / 1e4), static_cast<float>(ascending[i])});
  }
  bands.push_back({1, 0});
  return bands;
}

std::vector<autotune::TuneBucket> TuneOptions::buckets(const Arch &on) const {
  std::vector<Need> plain;
  for (NamedNeed &named : needs(on)) {
    plain.push_back(std::move(named.need));
  }
  return autotune::tune_buckets(plain, tokens(), bands(), on);
}

} // namespace sale::cli
