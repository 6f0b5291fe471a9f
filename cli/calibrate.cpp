// SPDX-License-Identifier: Apache-2.0
// sale calibrate: threshold shifts (and channels) that make a cheap estimate keep what the exact one keeps, or
// thresholds with which the output stays within a bound, from captured Q, K and V, judged on rows that they were not
// made from, written as a policy file.
#include "cli/calibrate_files.hpp"
#include "cli/calibrate_report.hpp"
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "cli/policy_options.hpp"
#include "cli/policy_output.hpp"
#include "cli/text.hpp"

#include "calibrate/constant_kbar.hpp"
#include "calibrate/calibrate.hpp"
#include "calibrate/tau.hpp"
#include "io/policy_file.hpp"
#include "io/qkv.hpp"
#include "reference/tensors.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>

namespace sale::cli {

namespace {

struct CalibrateOptions {
  std::vector<std::string> files;
  std::vector<std::string> judges;
  std::string output;
  double hit_mass = 0.99;
  float least_shift = 0;
  bool project = false;
  bool constant_kbar = false;
  std::optional<double> bound;
  std::optional<double> relative_bound;
  std::vector<int> lengths;
  int rows = 0;
  std::optional<float> largest_tau;
  PolicyOptions policy;
  std::string json;
  CLI::Option *json_option = nullptr;

  bool json_to_stdout() const { return json_option->count() > 0 && (json.empty() || json == "-"); }
  bool bound_only_options_given() const { return !lengths.empty() || rows != 0 || largest_tau.has_value(); }
  bool finds_tau() const { return bound || relative_bound; }
  ErrorBound error_bound() const {
    constexpr double none = std::numeric_limits<double>::infinity();
    return {bound.value_or(none), relative_bound.value_or(none)};
  }
};

struct CalibratedLayer {
  int layer = 0;
  LayerCalibration calibration;
};

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

/// One layer's inputs and the policy to start from.
struct LayerInputs {
  std::optional<Problem> problem;
  std::vector<reference::Tensors> samples;
  std::vector<reference::Tensors> judges;
  Policy policy;
};

/// Whether the policy can have a projection.
void check_projects(Policy policy, const Problem &problem) {
  if (policy.estimate_dim == 0 || policy.estimate_dim >= problem.head_dim) {
    refuse(fmt::format("--projection needs --estimator fp8 and an --estimate-dim below the {} channels of a head",
                       problem.head_dim));
  }
  policy.projection.assign(std::size_t{2} * problem.num_kv_heads * policy.estimate_dim * problem.head_dim, 0.0F);
  validate(policy, problem);
}

LayerInputs load_layer(const CalibrateOptions &options, int layer, const LayerFiles &files) {
  LayerInputs inputs;
  inputs.samples = load_samples(files.files, inputs.problem);
  inputs.judges = load_samples(files.judges, inputs.problem);
  PolicyOptions policy = options.policy;
  if (!policy.file.empty() && !policy.layer) {
    policy.layer = layer;
  }
  inputs.policy = policy.resolve(*inputs.problem);
  if (options.constant_kbar) {
    inputs.policy.kbar = constant_kbar(inputs.samples);
    validate(inputs.policy, *inputs.problem);
  }
  if (options.project) {
    check_projects(inputs.policy, *inputs.problem);
  }
  return inputs;
}

CalibratedLayer find_shift(const CalibrateOptions &options, int layer, const LayerFiles &files) {
  const LayerInputs inputs = load_layer(options, layer, files);
  CalibrationGoal goal;
  goal.policy = inputs.policy;
  goal.softmax_scale = effective_softmax_scale(*inputs.problem);
  goal.project = options.project;
  goal.hit_mass = options.hit_mass;
  goal.least_shift = options.least_shift;
  return {layer, calibrate_layer(goal, inputs.samples, inputs.judges)};
}

TauLayer find_tau(const CalibrateOptions &options, int layer, const LayerFiles &files) {
  const LayerInputs inputs = load_layer(options, layer, files);
  TauGoal goal;
  goal.policy = inputs.policy;
  goal.softmax_scale = effective_softmax_scale(*inputs.problem);
  goal.project = options.project;
  goal.bound = options.error_bound();
  goal.largest_tau = options.largest_tau.value_or(goal.largest_tau);
  goal.lengths = options.lengths;
  goal.rows = options.rows;
  return {layer, calibrate_tau(goal, inputs.samples, inputs.judges)};
}

std::string layer_text(const CalibratedLayer &layer) {
  Table table({"layer", "head", "shift", "hit mass", "with shift", "density", "with shift", "exact"});
  for (std::size_t h = 0; h < layer.calibration.heads.size(); ++h) {
    const HeadCalibration &head = layer.calibration.heads[h];
    table.add({std::to_string(layer.layer), std::to_string(h),
               fmt::format("{:+.3f}{}", head.shift.nats, head.shift.reached ? "" : " (not enough)"),
               fmt::format("{:.4f}", head.before.hit_mass()), fmt::format("{:.4f}", head.after.hit_mass()),
               fmt::format("{:.4f}", head.before.density()), fmt::format("{:.4f}", head.after.density()),
               fmt::format("{:.4f}", head.before.exact_density())});
  }
  return table.text();
}

/// Over all heads; the least and the counts over those with something to find.
struct Summary {
  Figures before;
  Figures after;
  double least_before = 1;
  double least_after = 1;
  int heads = 0;
  int reached = 0; ///< Heads with hit mass at the goal or above, on the judging part.
};

Summary summarise(const std::vector<CalibratedLayer> &layers, double goal) {
  Summary all;
  for (const CalibratedLayer &layer : layers) {
    for (const HeadCalibration &head : layer.calibration.heads) {
      all.before += head.before;
      all.after += head.after;
      if (head.after.counts()) {
        all.least_before = std::min(all.least_before, head.before.hit_mass());
        all.least_after = std::min(all.least_after, head.after.hit_mass());
        ++all.heads;
        all.reached += head.after.hit_mass() >= goal ? 1 : 0;
      }
    }
  }
  return all;
}

std::string summary_text(const Summary &all, double goal) {
  return fmt::format(
      "hit mass {:.4f}; with shift {:.4f}\ndensity {:.4f}; with shift {:.4f}; exact mask {:.4f}\n"
      "{} of {} heads with something to find reach {}; the least hit mass is {:.4f}, without shift {:.4f}\n",
      all.before.hit_mass(), all.after.hit_mass(), all.before.density(), all.after.density(),
      all.before.exact_density(), all.reached, all.heads, goal, all.least_after, all.least_before);
}

nlohmann::ordered_json figures_json(const Figures &figures) {
  return {{"hit_mass", figures.hit_mass()},
          {"density", figures.density()},
          {"kept_share", figures.kept_share()},
          {"wanted_blocks", figures.wanted}};
}

std::string report_json(const std::vector<CalibratedLayer> &layers, const CalibrateOptions &options) {
  nlohmann::ordered_json json = {
      {"schema", 1}, {"goal", options.hit_mass}, {"layers", nlohmann::ordered_json::array()}};
  for (const CalibratedLayer &layer : layers) {
    nlohmann::ordered_json heads = nlohmann::ordered_json::array();
    for (const HeadCalibration &head : layer.calibration.heads) {
      heads.push_back({{"shift", head.shift.nats},
                       {"reached", head.shift.reached},
                       {"exact_density", head.before.exact_density()},
                       {"before", figures_json(head.before)},
                       {"after", figures_json(head.after)}});
    }
    json["layers"].push_back({{"layer", layer.layer}, {"heads", std::move(heads)}});
  }
  return json_text(json);
}

/// `Found` is CalibratedLayer or TauLayer: a layer's number and a calibration with its policy and its heads.
template <class Found>
io::PolicyFile policy_file(const std::vector<Found> &layers, const std::string &model) {
  io::PolicyFile file;
  file.model = model;
  file.policy = layers.front().calibration.policy;
  for (const Found &layer : layers) {
    io::add_layer(file, layer.layer, layer.calibration.policy, static_cast<int>(layer.calibration.heads.size()),
                  layer.calibration.head_dim);
  }
  return file;
}

/// find(layer, its files) for every layer; `text` of each is printed as soon as it is there.
template <class Find, class Text>
auto find_layers(const CalibrateOptions &options, Find find, Text text) {
  std::vector<decltype(find(options, 0, LayerFiles()))> layers;
  for (const auto &[layer, files] : sort_files(options.files, options.judges)) {
    layers.push_back(find(options, layer, files));
    const std::size_t heads = layers.back().calibration.heads.size();
    if (const std::size_t first = layers.front().calibration.heads.size(); heads != first) {
      refuse(
          fmt::format("layer {} has {} query heads, but layer {} has {}", layer, heads, layers.front().layer, first));
    }
    if (!options.json_to_stdout()) {
      fmt::print("{}", text(layers.back()));
      std::fflush(stdout);
    }
  }
  return layers;
}

/// The policy file and, where asked for, the report.
template <class Found>
void write_results(const CalibrateOptions &options, const std::vector<Found> &layers, const std::string &goal,
                   const std::string &summary, const std::string &json) {
  const auto metadata = io::load_qkv(options.files.front()).metadata;
  const auto model = metadata.find("model");
  const std::string judged = options.judges.empty() ? "even query blocks calibrate, odd ones judge"
                                                    : fmt::format("judged on {}", fmt::join(options.judges, ", "));
  const std::string comment =
      fmt::format("sale calibrate, {}: {}; {}\n{}", goal, fmt::join(options.files, ", "), judged, summary);
  write_policy_file(options.output, policy_file(layers, model == metadata.end() ? "" : model->second), comment);
  if (options.json_option->count() > 0) {
    write_text(options.json, json);
  }
  if (!options.json_to_stdout()) {
    fmt::print("{}wrote {}; use it with sale run --policy-file {}\n", summary, options.output, options.output);
  }
}

void calibrate_shifts(const CalibrateOptions &options) {
  const std::vector<CalibratedLayer> layers = find_layers(options, find_shift, layer_text);
  write_results(options, layers, fmt::format("hit mass >= {}", options.hit_mass),
                summary_text(summarise(layers, options.hit_mass), options.hit_mass), report_json(layers, options));
}

void calibrate_thresholds(const CalibrateOptions &options) {
  const ErrorBound bound = options.error_bound();
  const std::vector<TauLayer> layers =
      find_layers(options, find_tau, [&](const TauLayer &layer) { return tau_table(layer, bound); });
  const std::string lengths =
      options.lengths.empty() ? "" : fmt::format(", also at lengths {}", fmt::join(options.lengths, ", "));
  write_results(options, layers, bound_text(bound) + lengths, tau_summary(layers, bound),
                json_text(tau_json(layers, bound)));
}

int run_calibrate(const CalibrateOptions &options) {
  if (!(options.hit_mass > 0.0 && options.hit_mass <= 1.0)) {
    refuse(fmt::format("--hit-mass {} must be above 0 and at most 1", options.hit_mass));
  }
  if (!std::isfinite(options.least_shift)) {
    refuse(fmt::format("--least-shift {} must be a finite number of nats", options.least_shift));
  }
  if (options.finds_tau() && options.policy.tau) {
    refuse("--bound and --relative-bound find tau; leave --tau out, and limit it with --largest-tau");
  }
  if (!options.finds_tau() && options.bound_only_options_given()) {
    refuse("--lengths, --rows and --largest-tau belong to --bound or --relative-bound");
  }
  require_policy_path(options.output);
  if (!options.json.empty() && options.json != "-") {
    require_writable_path(options.json);
  }
  if (options.finds_tau()) {
    calibrate_thresholds(options);
  } else {
    calibrate_shifts(options);
  }
  return exit_ok;
}

} // namespace

void add_calibrate(CLI::App &app, Command &command) {
  auto options = std::make_shared<CalibrateOptions>();
  CLI::App *sub = app.add_subcommand(
      "calibrate",
      "Find the threshold shifts (and channels) with which a cheap estimate keeps what the exact one keeps, or with "
      "--bound the thresholds that keep the output within an error");
  sub->add_option("files", options->files,
                  "Safetensors with q, k and v; the metadata's layer says of which layer, else one file per layer")
      ->required();
  sub->add_option("-o,--output", options->output, "The policy file to write")->required();
  sub->add_option("--judge", options->judges,
                  "Other files to judge on (default: every second query block of the files themselves)");
  auto *hit_mass = sub->add_option("--hit-mass", options->hit_mass,
                                   "Share of the exact mask's attention that must be kept, per head")
                       ->capture_default_str();
  auto *least_shift =
      sub->add_option("--least-shift", options->least_shift,
                      "No shift below this, in nats; below 0 some heads keep less than they would without a shift")
          ->capture_default_str();
  sub->add_flag("--projection", options->project,
                "fp8: a projection to --estimate-dim channels, written as .safetensors beside the policy file, instead "
                "of that many of the channels");
  sub->add_flag("--kbar", options->constant_kbar,
                "A constant mean key for each KV head, that of the files, in place of each call's own; written as "
                ".safetensors beside the policy file");
  const std::string group = "Thresholds instead of shifts";
  sub->add_option("--bound", options->bound,
                  "Find the largest tau of every head with at most this L1 error of an output row, mean over rows")
      ->excludes(hit_mass)
      ->excludes(least_shift)
      ->group(group);
  sub->add_option("--relative-bound", options->relative_bound,
                  "The same with at most this sum |out - dense| / sum |dense|; with --bound, both hold")
      ->excludes(hit_mass)
      ->excludes(least_shift)
      ->group(group);
  sub->add_option("--lengths", options->lengths, "Prefixes of the files, in tokens, on which the bound must hold too")
      ->delimiter(',')
      ->group(group);
  sub->add_option("--rows", options->rows, "Query rows of a sequence to measure on, spread evenly (default 0: all)")
      ->group(group);
  sub->add_option("--largest-tau", options->largest_tau, "No tau above this (default 0.016)")->group(group);
  options->policy.add_to(*sub);
  options->json_option =
      sub->add_option("--json", options->json, "Machine-readable report, to a file or standard output")
          ->expected(0, 1)
          ->type_name("[FILE]");
  sub->callback([&command, options] { command = [options] { return run_calibrate(*options); }; });
}

} // namespace sale::cli
