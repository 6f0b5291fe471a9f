// SPDX-License-Identifier: Apache-2.0
// sale prewarm: every kernel that a model needs, into the cache, with or without a GPU.
#include "cli/command.hpp"
#include "cli/engine_options.hpp"
#include "cli/policy_options.hpp"
#include "cli/progress.hpp"
#include "cli/serving_words.hpp"
#include "cli/text.hpp"

#include "cache/store.hpp"
#include "generator/arch.hpp"
#include "io/model.hpp"
#include "io/names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace sale::cli {

namespace {

struct PrewarmOptions {
  std::vector<std::string> archs;
  std::string model;
  std::string problem;
  std::string dtype;
  std::vector<std::string> serving = {"plain"};
  PolicyOptions policy;
  EngineOptions engine;
};

io::Model load(const PrewarmOptions &options) {
  std::optional<DType> dtype;
  if (!options.dtype.empty()) {
    dtype = io::parse_dtype(options.dtype);
  }
  if (!options.model.empty()) {
    return io::load_model(options.model, dtype);
  }
  if (!options.problem.empty()) {
    return io::load_problem(options.problem, dtype);
  }
  throw Error(ErrorKind::invalid_argument,
              "say what to compile for: --model NAME, --model config.json, --model FOLDER or --problem FILE");
}

[[noreturn]] void refuse_folder(const std::filesystem::path &folder, const std::string &reason) {
  throw Error(ErrorKind::cache, fmt::format("the cache {} cannot be filled: {}", folder.string(), reason),
              {.advice = "name a folder that is writable and yours with --cache-dir or SALE_CACHE_DIR"});
}

// Disk errors are only warnings inside the library; here the files are the purpose, so they are looked at before the
// work and after it.
void require_writable(const std::filesystem::path &folder) {
  if (const auto problem = Store({.root = folder}, warn).make_folder()) {
    refuse_folder(folder, *problem);
  }
}

void require_on_disk(const std::vector<KernelInfo> &kernels, const std::filesystem::path &folder) {
  const Store store({.root = folder, .writable = false}, [](const std::string &) {});
  const auto missing = std::count_if(kernels.begin(), kernels.end(), [&](const KernelInfo &kernel) {
    return !kernel.from_cache && !store.lookup(kernel.key, std::nullopt);
  });
  if (missing > 0) {
    refuse_folder(folder, fmt::format("{} of {} kernels are not in it", missing, kernels.size()));
  }
}

std::string table_text(const std::vector<KernelInfo> &kernels) {
  Table table({"kernel", "arch", "registers", "spills", "smem", "cubin bytes", "ms", ""});
  for (const KernelInfo &kernel : kernels) {
    table.add({kernel.name, kernel.arch, std::to_string(kernel.registers), std::to_string(kernel.spill_bytes),
               std::to_string(kernel.shared_memory), std::to_string(kernel.binary_bytes),
               fmt::format("{:.1f}", kernel.milliseconds), kernel.from_cache ? "hit" : "compiled"});
  }
  return table.text();
}

std::vector<KernelInfo> compile(const PrewarmOptions &options, const Problem &problem, const Policy &policy,
                                Options engine) {
  Progress progress;
  engine.progress = [&](const KernelInfo &kernel, int done, int total) { progress.show(kernel, done, total); };
  std::vector<KernelInfo> kernels;
  for (const std::string &word : options.serving) {
    const std::vector<KernelInfo> more = prewarm(options.archs, problem, policy, engine, parse_serving(word));
    kernels.insert(kernels.end(), more.begin(), more.end());
  }
  return kernels;
}

int run_prewarm(const PrewarmOptions &options) {
  for (const std::string &arch : options.archs) {
    parse_arch(arch);
  }
  for (const std::string &word : options.serving) {
    parse_serving(word);
  }
  const io::Model model = load(options);
  const Policy policy = options.policy.resolve(model.problem);
  const std::filesystem::path folder = options.engine.cache_folder();
  require_writable(folder);
  const Options engine = options.engine.resolve();

  const Problem &problem = model.problem;
  fmt::print("{}: {}, {} query heads over {} KV heads, {}\n", model.name, to_string(problem.dtype), problem.num_q_heads,
             problem.num_kv_heads, head_dims_text(problem));
  std::fflush(stdout);
  const std::vector<KernelInfo> kernels = compile(options, problem, policy, engine);
  const auto hits = std::count_if(kernels.begin(), kernels.end(), [](const KernelInfo &k) { return k.from_cache; });
  fmt::print("{}{} kernels: {} compiled, {} from the cache in {}\n", table_text(kernels), kernels.size(),
             kernels.size() - hits, hits, folder.string());
  require_on_disk(kernels, folder);
  return exit_ok;
}

} // namespace

void add_prewarm(CLI::App &app, Command &command) {
  auto options = std::make_shared<PrewarmOptions>();
  CLI::App *sub = app.add_subcommand("prewarm", "Compile every kernel that a model needs into the cache; needs no GPU");
  sub->add_option("--arch", options->archs, "Architectures, e.g. sm_80,sm_90a (which an H100 takes)")
      ->delimiter(',')
      ->required();
  auto *model = sub->add_option("--model", options->model,
                                "A model that libsale knows, or the path of its config.json or folder");
  sub->add_option("--problem", options->problem, "YAML with dtype, head_dim, num_q_heads, num_kv_heads")
      ->excludes(model);
  sub->add_option("--dtype", options->dtype, "bf16 or f16 instead of what the model says");
  sub->add_option("--serving", options->serving,
                  "How calls hand sequences over (docs/serving.md): plain, ragged, paged:KEYS, coded:KEYS, parts")
      ->delimiter(',')
      ->capture_default_str();
  options->policy.add_to(*sub);
  options->engine.add_cache_dir_to(*sub);
  options->engine.add_nvrtc_to(*sub);
  options->engine.add_jobs_to(*sub);
  sub->callback([&command, options] { command = [options] { return run_prewarm(*options); }; });
}

} // namespace sale::cli
