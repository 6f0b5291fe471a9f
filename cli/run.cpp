// SPDX-License-Identifier: Apache-2.0
// sale run: SALE attention on Q, K, V from a file, on the GPU if there is one, on an emulated one, or by the CPU
// oracle.
#include "cli/backend.hpp"
#include "cli/command.hpp"
#include "cli/device_choice.hpp"
#include "cli/engine_options.hpp"
#include "cli/output.hpp"
#include "cli/policy_options.hpp"
#include "cli/report.hpp"
#include "cli/tuning_options.hpp"

#include "generator/arch.hpp"
#include "io/mask_image.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numeric>

namespace sale::cli {

namespace {

constexpr int most_panels = 64; ///< More heads than that are too small to see.

struct RunOptions {
  std::string qkv;
  std::optional<float> softmax_scale;
  PolicyOptions policy;
  std::string device = "auto";
  std::string arch;
  bool compare = false;
  std::optional<double> max_rel_l1;
  std::string mask;
  std::optional<int> mask_head;
  std::string out;
  std::string json;
  CLI::Option *json_option = nullptr;
  EngineOptions engine;
  TuningOptions tuning;

  bool json_to_stdout() const { return json_option->count() > 0 && (json.empty() || json == "-"); }
};

void check(const RunOptions &options, const io::Qkv &qkv) {
  if (options.max_rel_l1 && !(*options.max_rel_l1 >= 0.0)) {
    throw Error(ErrorKind::invalid_argument, fmt::format("--max-rel-l1 {} must be a number >= 0", *options.max_rel_l1));
  }
  const int heads = qkv.problem.num_q_heads;
  if (options.mask_head && (*options.mask_head < 0 || *options.mask_head >= heads)) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("--mask-head {} must be between 0 and {}", *options.mask_head, heads - 1));
  }
  if (!options.arch.empty()) {
    parse_arch(options.arch);
  }
  for (const std::string *file : {&options.mask, &options.out, &options.json}) {
    if (!file->empty() && *file != "-") {
      require_writable_path(*file);
    }
  }
}

void write_mask(const RunOptions &options, const io::Qkv &qkv, const Policy &policy, const reference::Mask &mask) {
  std::vector<int> heads;
  if (options.mask_head) {
    heads = {*options.mask_head};
  } else {
    heads.resize(static_cast<std::size_t>(std::min(most_panels, qkv.problem.num_q_heads)));
    std::iota(heads.begin(), heads.end(), 0);
  }
  const io::Image image = io::draw_mask(mask, policy, qkv.problem, qkv.shape, heads);
  write_whole(options.mask, [&](const std::filesystem::path &path) { io::write_png(path, image); });
}

void print_report(const RunOptions &options, const Report &report) {
  if (options.json_to_stdout()) {
    write_text("", report_json(report));
    return;
  }
  std::string text = report_text(report);
  const auto add_file = [&](const char *label, const std::string &file) {
    text += file.empty() ? "" : fmt::format("{:<9}{}\n", label, file);
  };
  add_file("mask", options.mask);
  add_file("output", options.out);
  write_text("", text);
  if (!options.json.empty()) {
    write_text(options.json, report_json(report));
  }
}

int run_run(const RunOptions &options) {
  io::Qkv qkv = io::load_qkv(options.qkv);
  qkv.problem.softmax_scale = options.softmax_scale.value_or(qkv.problem.softmax_scale);
  validate(qkv.problem);
  const Policy policy = options.policy.resolve(qkv.problem);
  check(options, qkv);
  const bool compare = options.compare || options.max_rel_l1;

  Options engine = options.engine.resolve();
  engine.arch = options.arch;
  const std::optional<int> device = choose_device(options.device, engine);
  if (device) {
    engine.tuning = options.tuning.load();
  }
  const Outcome outcome = device ? run_on_gpu(qkv, policy, compare, *device, engine) : run_on_cpu(qkv, policy, compare);

  // The report first: it must not be lost with a picture that a full disk does not take.
  Report report = make_report(options.qkv, qkv, policy, outcome);
  report.max_rel_l1 = options.max_rel_l1;
  print_report(options, report);
  if (!options.mask.empty()) {
    write_mask(options, qkv, policy, outcome.mask);
  }
  if (!options.out.empty()) {
    write_whole(options.out, [&](const std::filesystem::path &path) {
      io::write_result(path, qkv.problem, qkv.shape, outcome.out, outcome.lse, outcome.mask);
    });
  }
  if (!report.check_met()) {
    fmt::print(stderr, "sale: rel-L1 {:.3e} is above --max-rel-l1 {:.3e}\n", report.quality->rel_l1,
               *options.max_rel_l1);
    return exit_check_not_met;
  }
  return exit_ok;
}

} // namespace

void add_run(CLI::App &app, Command &command) {
  auto options = std::make_shared<RunOptions>();
  CLI::App *sub = app.add_subcommand("run", "Run SALE attention on Q, K, V from a safetensors file");
  sub->add_option("--qkv", options->qkv, "Safetensors with q, k and v, BF16 or F16")->required();
  sub->add_option("--softmax-scale", options->softmax_scale,
                  "Scale of q.k (default the file's, else 1/sqrt(head_dim))");
  options->policy.add_to(*sub);
  sub->add_option("--device", options->device,
                  "auto, cpu, the number of a GPU, or emulator (small inputs: it executes every GPU thread on the CPU)")
      ->capture_default_str();
  sub->add_option("--arch", options->arch, "Compile for this architecture instead of the device's own");
  sub->add_flag("--compare", options->compare, "Also run dense attention and say how close the result is");
  sub->add_option("--max-rel-l1", options->max_rel_l1, "Compare, and exit with 3 when rel-L1 is above this");
  auto *mask = sub->add_option("--mask", options->mask, "PNG to draw the mask into");
  sub->add_option("--mask-head", options->mask_head,
                  fmt::format("Draw this head only (default: the first {} of the first batch element)", most_panels))
      ->needs(mask);
  sub->add_option("--out", options->out, "Safetensors to write out, lse and mask into");
  options->json_option =
      sub->add_option("--json", options->json, "Machine-readable report, to a file or standard output")
          ->expected(0, 1)
          ->type_name("[FILE]");
  options->tuning.add_to(*sub);
  options->engine.add_cache_dir_to(*sub);
  options->engine.add_nvrtc_to(*sub);
  options->engine.add_driver_to(*sub);
  options->engine.add_jobs_to(*sub);
  sub->callback([&command, options] { command = [options] { return run_run(*options); }; });
}

} // namespace sale::cli
