// SPDX-License-Identifier: Apache-2.0
#include "cli/prewarm_options.hpp"

#include "cli/command.hpp"

#include "core/serving_words.hpp"
#include "io/model.hpp"
#include "io/names.hpp"
#include "runtime/prewarm.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace sale::cli {

namespace {

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

std::vector<io::Model> load_models(const PrewarmOptions &options) {
  const bool named = options.all_models || !options.models.empty();
  if (named + !options.problem.empty() + options.shape.given() != 1) {
    refuse("say what to compile for in one way: --model NAME, --model config.json, --model FOLDER, --all-models, "
           "--problem FILE or --heads, --kv-heads and --head-dim");
  }
  std::optional<DType> dtype;
  if (!options.dtype.empty()) {
    dtype = io::parse_dtype(options.dtype);
  }
  if (!options.problem.empty()) {
    return {io::load_problem(options.problem, dtype)};
  }
  if (!named) {
    io::Model model{"this shape", 0, options.shape.resolve()};
    model.problem.dtype = dtype.value_or(model.problem.dtype);
    return {model};
  }
  std::vector<io::Model> models;
  for (const std::string &name : options.all_models ? io::known_models() : options.models) {
    models.push_back(io::load_model(name, dtype));
  }
  return models;
}

bool is_not_help(const CLI::Option *option) { return !option->check_name("--help"); }

} // namespace

void ShapeOptions::add_to(CLI::App &app) {
  const std::string group = "Shape (instead of a model)";
  app.add_option("--heads", heads, "Query heads")->group(group);
  app.add_option("--kv-heads", kv_heads, "KV heads")->group(group);
  app.add_option("--head-dim", head_dim, "64, 96, 128, 192 or 256")->group(group);
  app.add_option("--v-head-dim", v_head_dim, "Of V and the output: 128 with head_dim 192 (default head_dim)")
      ->group(group);
  app.add_flag("--no-causal", no_causal, "Every query sees every key")->group(group);
  app.add_option("--sliding-window", sliding_window, "Keys a row sees (default all)")->group(group);
  app.add_option("--softcap", softcap, "Logits become c * tanh(logit / c) (default none)")->group(group);
  app.add_flag("--sink-logits", sink_logits, "Calls bring one learned logit per head")->group(group);
}

Problem ShapeOptions::resolve() const {
  if (!heads || !kv_heads || !head_dim) {
    refuse("a shape needs all of --heads, --kv-heads and --head-dim");
  }
  Problem problem;
  problem.num_q_heads = *heads;
  problem.num_kv_heads = *kv_heads;
  problem.head_dim = *head_dim;
  problem.v_head_dim = v_head_dim;
  problem.causal = !no_causal;
  problem.sliding_window = sliding_window;
  problem.softcap = softcap;
  problem.sink_logits = sink_logits;
  validate(problem);
  return problem;
}

void PrewarmOptions::add_to(CLI::App &app) {
  app.add_option("--model", models, "Models that libsale knows, or paths of their config.json or folders")
      ->delimiter(',');
  app.add_flag("--all-models", all_models, "Every model that libsale knows");
  app.add_option("--problem", problem, "YAML with dtype, head_dim, num_q_heads, num_kv_heads");
  app.add_option("--dtype", dtype, "bf16 or f16 instead of what the model says");
  app.add_option("--serving", serving,
                 "How calls hand sequences over (docs/serving.md): plain, ragged, paged:KEYS, coded:KEYS, parts, "
                 "paged:KEYS+parts, coded:KEYS+parts, each also with +counted behind it")
      ->delimiter(',')
      ->capture_default_str();
  shape.add_to(app);
  policy.add_to(app);
  const std::string group = "Policy (decides results)";
  app.add_flag("--fixed-channels", arrays.channels, "fp8: the policy brings the channels")->group(group);
  app.add_flag("--projection", arrays.projection, "fp8: the policy brings a projection")->group(group);
  const std::vector<CLI::Option *> said_by_a_manifest = app.get_options(is_not_help);
  auto *manifest_option =
      app.add_option("--manifest", manifest, "What --write-manifest wrote, instead of all of these");
  for (CLI::Option *option : said_by_a_manifest) {
    manifest_option->excludes(option);
  }
  app.add_option("--arch", archs,
                 "Architectures, e.g. sm_80,sm_90a (which an H100 takes), or compute_90: PTX, for newer GPUs; of a "
                 "manifest, its own")
      ->delimiter(',');
  app.add_option("--write-manifest", write_manifest, "YAML of the needs and the keys of their kernels");
  auto *check_flag =
      app.add_flag("--check", check, "Compile nothing, list what is missing; exit code 3 if anything is");
  app.add_flag("--dry-run", dry_run, "Compile nothing, list the kernels that are needed")->excludes(check_flag);
  app.add_option("--deadline", deadline, "Seconds for one kernel, then it fails (NVRTC 12.8 or newer; default none)")
      ->check(CLI::Range(0.0, 1e6));
  tuning.add_to(app);
  app.add_option("--gpu", gpu, "Of the tuning record, only what is for this GPU, by the name sale info gives it")
      ->capture_default_str();
  engine.add_cache_dir_to(app);
  engine.add_nvrtc_to(app);
  engine.add_jobs_to(app);
}

Options PrewarmOptions::engine_options() const {
  Options options = engine.resolve();
  options.compile_seconds = deadline;
  options.tuning = tuning.load();
  options.tuning_gpu = gpu == "any" ? "" : gpu;
  return options;
}

std::vector<NamedNeed> PrewarmOptions::needs() const {
  if (archs.empty()) {
    refuse("--arch is required: say which architectures to compile for, e.g. --arch sm_80,sm_90a");
  }
  for (const std::string &arch : archs) {
    parse_target(arch);
  }
  std::vector<Serving> servings;
  std::transform(serving.begin(), serving.end(), std::back_inserter(servings), parse_serving);
  std::vector<NamedNeed> needs;
  for (const io::Model &model : load_models(*this)) {
    const Policy resolved = policy.resolve(model.problem);
    HeadArrays present = head_arrays(resolved);
    present.channels |= arrays.channels;
    present.projection |= arrays.projection;
    if (arrays.channels && resolved.estimate_dim == 0) {
      refuse("--fixed-channels needs an estimate of fewer channels: --estimator fp8 and --estimate-dim");
    }
    for (const Serving &way : servings) {
      const Need need = smallest_need(model.problem, resolved, way, present);
      validate(need.policy, need.problem);
      validate(way, need.problem, need.policy);
      needs.push_back({model.name, need});
    }
  }
  return needs;
}

} // namespace sale::cli
