// SPDX-License-Identifier: Apache-2.0
// sale prewarm: every kernel that a model needs, into the cache, with or without a GPU.
#include "cli/command.hpp"
#include "cli/prewarm_options.hpp"
#include "cli/progress.hpp"
#include "cli/text.hpp"

#include "cache/store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <set>

namespace sale::cli {

namespace {

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

void print_models(const std::vector<NamedNeed> &needs) {
  std::set<std::string> names;
  for (const auto &[name, need] : needs) {
    const Problem &problem = need.problem;
    if (names.insert(name).second) {
      fmt::print("{}: {}, {} query heads for each KV head, {}\n", name, to_string(problem.dtype), problem.num_q_heads,
                 head_dims_text(problem));
    }
  }
  std::fflush(stdout);
}

std::vector<KernelInfo> compile(const PrewarmOptions &options, const std::vector<NamedNeed> &named) {
  Options engine = options.engine.resolve();
  Progress progress;
  engine.progress = [&](const KernelInfo &kernel, int done, int total) { progress.show(kernel, done, total); };
  std::vector<Need> needs;
  std::transform(named.begin(), named.end(), std::back_inserter(needs),
                 [](const NamedNeed &each) { return each.need; });
  return prewarm(options.archs, needs, engine);
}

int run_prewarm(const PrewarmOptions &options) {
  const std::vector<NamedNeed> needs = options.needs();
  const std::filesystem::path folder = options.engine.cache_folder();
  require_writable(folder);
  print_models(needs);
  const std::vector<KernelInfo> kernels = compile(options, needs);
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
  options->add_to(*sub);
  sub->callback([&command, options] { command = [options] { return run_prewarm(*options); }; });
}

} // namespace sale::cli
