// SPDX-License-Identifier: Apache-2.0
// sale bench: times of the stages and of the whole method beside dense attention (docs/bench.md).
#include "bench/benchmark.hpp"
#include "bench/charts.hpp"
#include "bench/input.hpp"
#include "cli/bench_report.hpp"
#include "cli/command.hpp"
#include "cli/device_choice.hpp"
#include "cli/device_memory.hpp"
#include "cli/engine_options.hpp"
#include "cli/output.hpp"
#include "cli/policy_options.hpp"
#include "cli/progress.hpp"
#include "cli/tuning_options.hpp"
#include "io/model.hpp"
#include "io/names.hpp"
#include "io/policy_file.hpp"
#include "runtime/nvrtc.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <set>

namespace sale::cli {

namespace {

constexpr cu::DeviceAttribute l2_cache_bytes{38};

struct BenchOptions {
  std::string model = "llama-3.1-8b";
  std::optional<int> heads;
  std::optional<int> kv_heads;
  std::optional<int> head_dim;
  std::string dtype;
  int batch = 1;

  std::vector<std::string> lengths;
  std::string input = "structured";
  double density = 0.12;
  std::vector<std::string> files;

  std::vector<std::string> estimators;
  std::vector<std::string> attend = {"16bit"};
  std::vector<std::string> masks;
  std::vector<std::string> serving;
  std::vector<std::string> only;
  PolicyOptions policy;

  int rounds = 20;
  int warmups = 3;
  std::string l2 = "cold";
  bool small = false;
  bool paced = false;

  std::string device = "0";
  std::string arch;
  std::string json;
  CLI::Option *json_option = nullptr;
  std::string svg;
  TuningOptions tuning;
  EngineOptions engine;

  bool json_to_stdout() const { return json_option->count() > 0 && (json.empty() || json == "-"); }
  // With --serving nothing else unless it is named.
  bool wants(const char *what) const {
    return only.empty() ? serving.empty() : std::find(only.begin(), only.end(), what) != only.end();
  }
};

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

Problem problem_of(const BenchOptions &options) {
  std::optional<DType> dtype;
  if (!options.dtype.empty()) {
    dtype = io::parse_dtype(options.dtype);
  }
  Problem problem = io::load_model(options.model, dtype).problem;
  problem.num_q_heads = options.heads.value_or(problem.num_q_heads);
  problem.num_kv_heads = options.kv_heads.value_or(problem.num_kv_heads);
  problem.head_dim = options.head_dim.value_or(problem.head_dim);
  validate(problem);
  return problem;
}

// A policy file brings its own thresholds, channels and shifts.
Policy estimate_of(const std::string &word, const Policy &base, std::optional<int> layer, const Problem &problem) {
  if (!word.ends_with(".yaml")) {
    return bench::parse_estimate(word, base);
  }
  const Policy policy = io::layer_policy(io::load_policy_file(word), layer, problem);
  if (policy.block_q != base.block_q || policy.block_k != base.block_k) {
    refuse(fmt::format("{} is for blocks of {} x {}; here all are {} x {}", word, policy.block_q, policy.block_k,
                       base.block_q, base.block_k));
  }
  return policy;
}

// Every estimate with every way to attend.
std::vector<Policy> policies_of(const BenchOptions &options, const Problem &problem) {
  Policy base = options.policy.resolve(problem);
  if (options.small) {
    base.dense_below = 0;
  }
  std::vector<Policy> estimates;
  estimates.reserve(options.estimators.size());
  for (const std::string &word : options.estimators) {
    estimates.push_back(estimate_of(word, base, options.policy.layer, problem));
  }
  if (estimates.empty()) {
    estimates.push_back(base);
  }
  std::vector<Policy> policies;
  for (const Policy &estimate : estimates) {
    for (const std::string &attend : options.attend) {
      policies.push_back(estimate);
      policies.back().fp8_attend = attend == "fp8";
      validate(policies.back(), problem);
    }
  }
  return policies;
}

std::vector<int> lengths_of(const BenchOptions &options) {
  const std::vector<std::string> small = {"1K", "2K", "4K", "8K", "16K"};
  const std::vector<std::string> large = {"32K", "64K", "128K"};
  const std::vector<std::string> &words = !options.lengths.empty() ? options.lengths : options.small ? small : large;
  std::vector<int> lengths;
  lengths.reserve(words.size());
  for (const std::string &word : words) {
    lengths.push_back(bench::parse_length(word));
  }
  return lengths;
}

bench::Settings settings_of(const BenchOptions &options) {
  bench::Settings settings;
  settings.dense = options.wants("dense");
  settings.sale = options.wants("sale");
  settings.stages = options.wants("stages");
  settings.attend = options.wants("attend") && (!options.small || !options.masks.empty());
  const std::vector<std::string> usual = {"exact", "random:0.25", "random:0.1", "random:0.05"};
  for (const std::string &word : options.masks.empty() ? usual : options.masks) {
    settings.masks.push_back(bench::parse_mask(word));
  }
  for (const std::string &word : options.serving) {
    settings.serving.push_back(bench::parse_serving_request(word));
  }
  settings.rounds = options.rounds;
  settings.warmups = options.warmups;
  if (options.paced) {
    settings.before_round = [](const bench::Section &section, int round) {
      fmt::print("round {} {}\n", section.shape.kv_len, round);
      std::fflush(stdout);
      std::string go;
      if (!std::getline(std::cin, go)) {
        throw Error(ErrorKind::io, "--paced: standard input ended before the last round; a line begins each round");
      }
    };
  }
  return settings;
}

void check_outputs(const BenchOptions &options) {
  if (!options.json.empty() && options.json != "-") {
    require_writable_path(options.json);
  }
  if (!options.svg.empty()) {
    std::error_code problem;
    std::filesystem::create_directories(options.svg, problem);
    require_writable_path(std::filesystem::path(options.svg) / "time.svg");
  }
}

std::string nvrtc_version(const Options &engine) {
  try {
    return Nvrtc::open(locate_nvrtc(engine.nvrtc))->version();
  } catch (const Error &) {
    return "";
  }
}

std::size_t l2_bytes(const Driver &driver, int ordinal) {
  cu::Device device = 0;
  int bytes = 0;
  const bool known = driver.api.device_get(&device, ordinal) == cu::success &&
                     driver.api.device_attribute(&bytes, l2_cache_bytes, device) == cu::success;
  return known ? static_cast<std::size_t>(std::max(bytes, 0)) : 0;
}

std::size_t memory_bytes(const Driver &driver, int ordinal) {
  cu::Device device = 0;
  std::size_t bytes = 0;
  driver.check(driver.api.device_get(&device, ordinal), "cuDeviceGet");
  driver.check(driver.api.device_memory(&bytes, device), "cuDeviceTotalMem");
  return bytes;
}

// The inputs one after the other: each is made, measured and forgotten.
class Inputs {
public:
  explicit Inputs(const BenchOptions &options) : options_(options) {
    if (options.files.empty()) {
      problem_ = problem_of(options);
      policies_of(options, problem_); // what is wrong with them is said before anything is made
      lengths_ = lengths_of(options);
    }
  }

  std::size_t count() const { return options_.files.empty() ? lengths_.size() : options_.files.size(); }

  std::string name(std::size_t index) const {
    if (!options_.files.empty()) {
      return std::filesystem::path(options_.files[index]).filename().string();
    }
    return options_.input == "structured" ? fmt::format("structured:{}", options_.density) : options_.input;
  }

  io::Qkv make(std::size_t index) const {
    if (!options_.files.empty()) {
      return io::load_qkv(options_.files[index]);
    }
    const Shape shape{options_.batch, lengths_[index], lengths_[index]};
    validate(shape);
    return bench::make_input(problem_, shape,
                             options_.input == "structured" ? std::optional(options_.density) : std::nullopt);
  }

private:
  const BenchOptions &options_;
  Problem problem_;
  std::vector<int> lengths_;
};

// A number from a broken kernel is none.
void warn_of_nan(const bench::Section &section, bool &good) {
  for (const bench::Row &row : section.rows) {
    if (row.rel_l1 && !std::isfinite(*row.rel_l1)) {
      warn(fmt::format("{} at {} tokens: the output has values that are no numbers", row.name(), section.shape.kv_len));
      good = false;
    }
  }
}

void write_charts(const std::string &folder, const BenchReport &report) {
  for (const bench::ChartFile &file : bench::draw_charts(report.sections, report.device)) {
    write_text((std::filesystem::path(folder) / file.name).string(), file.svg);
  }
}

void print_report(const BenchOptions &options, const BenchReport &report) {
  if (options.json_to_stdout()) {
    write_text("", bench_json(report));
  } else {
    write_text("", bench_text(report));
    if (!options.json.empty()) {
      write_text(options.json, bench_json(report));
    }
  }
  if (!options.svg.empty()) {
    write_charts(options.svg, report);
  }
}

int run_bench(const BenchOptions &options) {
  const Inputs inputs(options);
  bench::Settings settings = settings_of(options);
  check_outputs(options);

  Options engine_options = options.engine.resolve();
  engine_options.arch = options.arch;
  engine_options.tuning = options.tuning.load();
  const std::optional<int> ordinal = choose_device(options.device, engine_options);
  if (!ordinal) {
    refuse("sale bench needs a device: the number of a GPU, or emulator");
  }
  const DeviceContext context(Driver::open(engine_options.cuda_driver), *ordinal);
  const Driver &driver = context.device()->driver();
  Progress progress;
  engine_options.progress = [&](const KernelInfo &kernel, int done, int total) {
    if (!kernel.from_cache && !driver.emulated()) {
      progress.show(kernel, done, total);
    }
  };
  const Engine engine(*ordinal, engine_options);

  BenchReport report;
  report.device = engine.device_name();
  report.arch = engine.arch();
  report.emulated = driver.emulated();
  report.cuda_version = driver.version();
  report.nvrtc = nvrtc_version(engine_options);
  report.memory_bytes = memory_bytes(driver, *ordinal);
  report.l2_bytes = l2_bytes(driver, *ordinal);
  report.flush_bytes = options.l2 == "cold" ? 2 * report.l2_bytes : 0;
  report.rounds = options.rounds;
  report.warmups = options.warmups;
  report.crossover = options.small;
  settings.flush_bytes = report.flush_bytes;

  bool good = true;
  for (std::size_t i = 0; i < inputs.count(); ++i) {
    const io::Qkv qkv = inputs.make(i);
    const std::vector<Policy> policies = policies_of(options, qkv.problem);
    report.policy = policies.front();
    settings.calls_in_a_row = !options.small || i > 0 ? 0 : report.emulated ? 1 : 100;
    report.sections.push_back(bench::measure(context.device(), engine, settings, policies, inputs.name(i), qkv));
    const bench::Section &section = report.sections.back();
    if (!section.left_out.empty()) {
      warn(fmt::format("{} tokens are left out: {}", section.shape.kv_len, section.left_out));
      good = good && inputs.count() > 1;
    }
    warn_of_nan(section, good);
  }
  if (options.paced) {
    fmt::print("done\n");
  }
  print_report(options, report);
  return good ? exit_ok : exit_check_not_met;
}

} // namespace

void add_bench(CLI::App &app, Command &command) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App *sub = app.add_subcommand("bench", "Time the method and its stages beside dense attention");
  const auto list = [&](const char *name, std::vector<std::string> &to, const char *help) {
    return sub->add_option(name, to, help)->delimiter(',');
  };
  const std::string input = "Input";
  auto *files = list("--qkv", options->files, "Safetensors with q, k and v instead of made input")->group(input);
  const auto made = [&](CLI::Option *option) { return option->excludes(files)->group(input); };
  made(sub->add_option("--model", options->model, "A model that libsale knows, or its config.json"))
      ->capture_default_str();
  made(sub->add_option("--heads", options->heads, "Query heads instead of the model's"));
  made(sub->add_option("--kv-heads", options->kv_heads, "KV heads instead of the model's"));
  made(sub->add_option("--head-dim", options->head_dim, "head_dim instead of the model's"));
  made(sub->add_option("--dtype", options->dtype, "bf16 or f16 instead of the model's"));
  made(sub->add_option("--batch", options->batch, "Sequences")->check(CLI::Range(1, 65535)))->capture_default_str();
  made(list("--lengths", options->lengths, "Tokens, e.g. 32768 or 32K (default 32K,64K,128K)"));
  made(sub->add_option("--input", options->input, "structured (docs/synth.md) or normal (nothing stands out)")
           ->check(CLI::IsMember({"structured", "normal"})))
      ->capture_default_str();
  made(sub->add_option("--density", options->density, "Of the exact mask of structured input at tau 0.004"))
      ->capture_default_str();

  list(
      "--estimators", options->estimators,
      "Estimates, e.g. int8,fp8,fp8/64,fp8/2:4,fp8/64/2:4 (/64: channels, /2:4: pruned queries); default the policy's");
  list("--attend", options->attend, "Attend with 16bit products, fp8 ones or both: 16bit,fp8")
      ->check(CLI::IsMember({"16bit", "fp8"}))
      ->capture_default_str();
  list("--masks", options->masks, "Masks given to attend alone (default exact,random:0.25,random:0.1,random:0.05)");
  list(
      "--serving", options->serving,
      "Shapes of serving beside plain calls of the same work: packed:SEQUENCES, halves, paged:KEYS, chunks:ROWS, coded-chunks:ROWS");
  list("--only", options->only, "Of dense, sale (whole calls), stages and attend (with given masks); default all")
      ->check(CLI::IsMember({"dense", "sale", "stages", "attend"}));
  sub->add_flag("--small", options->small,
                "1K to 16K: from which length the method wins, and what a call costs the host");
  options->policy.add_to(*sub);

  sub->add_option("--rounds", options->rounds, "Measurements of everything")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  sub->add_option("--warmup", options->warmups, "Rounds before those that count")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  sub->add_option("--l2", options->l2, "cold: write over the L2 cache before each call; or warm")
      ->check(CLI::IsMember({"cold", "warm"}))
      ->capture_default_str();
  sub->add_flag("--paced", options->paced,
                "Print \"round TOKENS NUMBER\" before each round and wait for a line; \"done\" after the last");
  sub->add_option("--device", options->device, "Number of a GPU, or emulator (tiny lengths; its times mean nothing)")
      ->capture_default_str();
  sub->add_option("--arch", options->arch, "Compile for this architecture instead of the device's own");
  options->json_option =
      sub->add_option("--json", options->json, "Machine-readable report, to a file or standard output")
          ->expected(0, 1)
          ->type_name("[FILE]");
  sub->add_option("--svg", options->svg, "Folder for time.svg, speedup.svg and stages.svg");
  options->tuning.add_to(*sub);
  options->engine.add_cache_dir_to(*sub);
  options->engine.add_nvrtc_to(*sub);
  options->engine.add_driver_to(*sub);
  options->engine.add_jobs_to(*sub);
  sub->callback([&command, options] { command = [options] { return run_bench(*options); }; });
}

} // namespace sale::cli
