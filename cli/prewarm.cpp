// SPDX-License-Identifier: Apache-2.0
// sale prewarm: every kernel that models need, into the cache, with or without a GPU.
#include "cli/command.hpp"
#include "cli/interruption.hpp"
#include "cli/output.hpp"
#include "cli/prewarm_options.hpp"
#include "cli/prewarm_plan.hpp"
#include "cli/progress.hpp"
#include "cli/text.hpp"

#include "cache/store.hpp"

#include <fmt/format.h>

#include <algorithm>
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

void print_models(const PrewarmPlan &plan) {
  std::set<std::string> names;
  for (const auto &[name, need] : plan.named) {
    const Problem &problem = need.problem;
    if (names.insert(name).second) {
      fmt::print("{}: {}, {} query heads for each KV head, {}\n", name, to_string(problem.dtype), problem.num_q_heads,
                 head_dims_text(problem));
    }
  }
  std::fflush(stdout);
}

void print_compiled(const std::vector<KernelInfo> &kernels, double seconds, const std::filesystem::path &folder) {
  Table table({"kernel", "arch", "registers", "spills", "smem", "cubin bytes", "ms", ""});
  std::size_t bytes = 0;
  std::ptrdiff_t hits = 0;
  for (const KernelInfo &kernel : kernels) {
    table.add({kernel.name, kernel.arch, std::to_string(kernel.registers), std::to_string(kernel.spill_bytes),
               std::to_string(kernel.shared_memory), std::to_string(kernel.binary_bytes),
               fmt::format("{:.1f}", kernel.milliseconds), kernel.from_cache ? "hit" : "compiled"});
    bytes += kernel.binary_bytes;
    hits += kernel.from_cache ? 1 : 0;
  }
  fmt::print("{}{} kernels, {}: {} compiled, {} from the cache; {:.1f} s; new ones are in {}\n", table.text(),
             kernels.size(), bytes_text(bytes), static_cast<std::ptrdiff_t>(kernels.size()) - hits, hits, seconds,
             folder.string());
}

template <class Kernels, class Row>
std::string list_text(const Kernels &kernels, const Row &row) {
  Table table({"kernel", "arch", "key"});
  for (const auto &kernel : kernels) {
    table.add(row(kernel));
  }
  return table.text();
}

int list_needed(const PrewarmPlan &plan) {
  const std::string text = list_text(plan.kernels, [](const PlannedKernel &kernel) {
    return std::vector<std::string>{kernel.request.spec.describe(),
                                    target_name(kernel.request.spec.arch, kernel.request.kind),
                                    kernel.key.substr(0, 12)};
  });
  fmt::print("{}{} kernels are needed\n", text, plan.kernels.size());
  return exit_ok;
}

int list_missing(const PrewarmPlan &plan, const Options &engine) {
  const std::vector<KernelInfo> kernels = missing(plan.archs, plan.needs(), engine);
  if (kernels.empty()) {
    fmt::print("all {} kernels are in the cache\n", plan.kernels.size());
    return exit_ok;
  }
  fmt::print("{}", list_text(kernels, [](const KernelInfo &kernel) {
               return std::vector<std::string>{kernel.name, kernel.arch, kernel.key.substr(0, 12)};
             }));
  fmt::print(stderr, "sale: {} of {} kernels are missing; sale prewarm without --check compiles them\n", kernels.size(),
             plan.kernels.size());
  return exit_check_not_met;
}

int fill(const PrewarmPlan &plan, const std::filesystem::path &folder, Options engine) {
  const Interruption interruption;
  Progress progress;
  engine.progress = [&](const KernelInfo &kernel, int done, int total) { progress.show(kernel, done, total); };
  engine.cancelled = [&] { return interruption.signal() != 0; };
  try {
    const std::vector<KernelInfo> kernels = prewarm(plan.archs, plan.needs(), engine);
    progress.erase();
    print_compiled(kernels, progress.elapsed(), folder);
    require_on_disk(kernels, folder);
    return exit_ok;
  } catch (const Error &error) {
    if (error.kind() != ErrorKind::cancelled) {
      throw;
    }
  }
  progress.erase();
  fmt::print(stderr,
             "sale: stopped; {} of {} kernels are done, nothing is half-written, and the same command goes on with the "
             "others\n",
             progress.done(), plan.kernels.size());
  return exit_by_signal + interruption.signal();
}

int run_prewarm(const PrewarmOptions &options) {
  const Options engine = options.engine_options();
  const PrewarmPlan plan = plan_prewarm(options, engine);
  if (!options.write_manifest.empty()) {
    write_text(options.write_manifest, io::manifest_text(manifest_of(plan)));
  }
  if (options.dry_run) {
    return list_needed(plan);
  }
  if (options.check) {
    return list_missing(plan, engine);
  }
  const std::filesystem::path folder = options.engine.cache_folder();
  require_writable(folder);
  print_models(plan);
  return fill(plan, folder, engine);
}

} // namespace

void add_prewarm(CLI::App &app, Command &command) {
  auto options = std::make_shared<PrewarmOptions>();
  CLI::App *sub = app.add_subcommand("prewarm", "Compile every kernel that models need into the cache; needs no GPU");
  options->add_to(*sub);
  sub->callback([&command, options] { command = [options] { return run_prewarm(*options); }; });
}

} // namespace sale::cli
