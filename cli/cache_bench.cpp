// SPDX-License-Identifier: Apache-2.0
// sale cache bench: what it takes to get at a model's kernels that are cached, beside the least that such work takes.
#include "bench/samples.hpp"
#include "cache/sha256.hpp"
#include "cache/store.hpp"
#include "cli/cache_commands.hpp"
#include "cli/text.hpp"
#include "generator/generate.hpp"
#include "io/model.hpp"
#include "runtime/kernel_factory.hpp"
#include "runtime/stage_kernels.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <chrono>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <memory>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unordered_map>

namespace sale::cli {

namespace {

struct BenchOptions {
  std::string model = "llama-3.1-8b";
  std::string arch = "sm_90a";
  int rounds = 50;
};

// One measured thing and, in the same round, its baseline.
struct Row {
  const char *what;
  std::function<void()> work;
  const char *baseline;
  std::function<void()> least;
  int repeats; ///< Of one sample: what takes nanoseconds is timed many times at once.
  bench::Samples work_us = {};
  bench::Samples least_us = {};
};

double microseconds(const std::function<void()> &work, int repeats) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) {
    work();
  }
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count() / repeats;
}

// This program again, with its output thrown away.
void run_self(const std::vector<std::string> &words) {
  std::vector<char *> arguments;
  arguments.reserve(words.size() + 1);
  for (const std::string &word : words) {
    arguments.push_back(const_cast<char *>(word.c_str()));
  }
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int error = posix_spawn(&child, "/proc/self/exe", &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  if (error != 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != exit_ok) {
    throw Error(ErrorKind::io, fmt::format("`sale {}` did not run to its end", words.at(1)));
  }
}

void read_and_hash(const std::filesystem::path &path) {
  std::vector<char> bytes(std::filesystem::file_size(path));
  std::ifstream(path, std::ios::binary).read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  Sha256 hash;
  hash.update(bytes.data(), bytes.size());
  hash.finish();
}

std::vector<KernelRequest> requests_of(const BenchOptions &options) {
  std::vector<KernelRequest> requests;
  for (const KernelSpec &spec : plan_kernels(io::load_model(options.model).problem, {}, parse_arch(options.arch))) {
    requests.push_back({spec, BinaryKind::cubin});
  }
  return requests;
}

std::vector<std::filesystem::path> files_of(const std::vector<BuiltKernel> &kernels, const Store &store) {
  std::vector<std::filesystem::path> files;
  for (const StoredFile &file : store.list()) {
    for (const BuiltKernel &kernel : kernels) {
      if (file.entry && file.entry->key == kernel.entry->key) {
        files.push_back(file.path);
        break;
      }
    }
  }
  return files;
}

// A stage as a tuned Plan has it: six lengths of two densities each, and the call that is served last.
StageKernels tuned_stage(const KernelSpec &spec) {
  StageKernels stage;
  Kernel kernel;
  kernel.spec = spec;
  stage.add(std::move(kernel));
  std::vector<TileChoice> choices;
  for (const int tokens : {8192, 16384, 32768, 65536, 131072, TileChoice::all_tokens}) {
    choices.push_back({tokens, 0.25F, spec.tile, {}});
    choices.push_back({tokens, 1, spec.tile, {}});
  }
  stage.choose_by(choices);
  return stage;
}

int print(const std::vector<Row> &rows) {
  Table table({"what", "median us", "min", "max", "baseline", "median us"});
  for (const Row &row : rows) {
    table.add({row.what, fmt::format("{:.3f}", row.work_us.median()), fmt::format("{:.3f}", row.work_us.min()),
               fmt::format("{:.3f}", row.work_us.max()), row.baseline, fmt::format("{:.3f}", row.least_us.median())});
  }
  fmt::print("{}", table.text());
  return exit_ok;
}

int run_bench(const BenchOptions &options, const EngineOptions &engine) {
  Options with = engine.resolve();
  with.cache_dir = engine.cache_folder();
  const std::vector<KernelRequest> requests = requests_of(options);
  // Fills the cache where it is not full yet.
  const KernelFactory warm(with);
  const std::vector<BuiltKernel> kernels = warm.build(requests);
  const Store store({.root = with.cache_dir}, warn);
  const std::vector<std::filesystem::path> files = files_of(kernels, store);
  if (files.size() < kernels.size()) {
    throw Error(ErrorKind::cache, fmt::format("{} of {} kernels are in {}; name a folder that takes them", files.size(),
                                              kernels.size(), with.cache_dir.string()));
  }
  const std::vector<KernelRequest> one = {requests.back()};
  const Entry &entry = *kernels.back().entry;
  const CompilerId compiler{entry.compiler_version, entry.compiler_build};
  std::unordered_map<std::string, int> map;
  for (const BuiltKernel &kernel : kernels) {
    map.emplace(kernel.spec.describe(), 1);
  }
  const std::string name = one[0].spec.describe();
  std::filesystem::path file;
  for (const std::filesystem::path &path : files) {
    file = path.filename().string().rfind(entry.key, 0) == 0 ? path : file;
  }

  const StageKernels stage = tuned_stage(one[0].spec);

  std::vector<Row> rows;
  rows.push_back({"a kernel of a prepared Plan", [&] { static_cast<void>(stage.at(1 << 20, 0.5F)); },
                  "a look into a hash map", [&] { static_cast<void>(map.find(name)); }, 100000});
  rows.push_back({"one kernel by its spec, in memory", [&] { warm.build(one); }, "a look into a hash map",
                  [&] { static_cast<void>(map.find(name)); }, 1000});
  rows.push_back({"one kernel from disk, checked", [&] { static_cast<void>(store.lookup(entry.key, compiler)); },
                  "its file read and hashed", [&] { read_and_hash(file); }, 1});
  rows.push_back({"all of the model's, new Engine", [&] { KernelFactory(with).build(requests); },
                  "their files read and hashed",
                  [&] {
                    for (const std::filesystem::path &path : files) {
                      read_and_hash(path);
                    }
                  },
                  1});
  const std::vector<std::string> prewarm = {"sale",   "prewarm",    "--model",     options.model,
                                            "--arch", options.arch, "--cache-dir", with.cache_dir.string()};
  rows.push_back({"all of the model's, new process", [&] { run_self(prewarm); }, "sale --version, new process",
                  [] { run_self({"sale", "--version"}); }, 1});
  for (int round = 0; round < options.rounds; ++round) {
    for (Row &row : rows) {
      row.work_us.add(microseconds(row.work, row.repeats));
      row.least_us.add(microseconds(row.least, row.repeats));
    }
  }
  fmt::print("{} on {}: {} kernels, {} rounds in turns; files in the page cache\n", options.model, options.arch,
             kernels.size(), options.rounds);
  return print(rows);
}

} // namespace

void add_cache_bench(CLI::App &cache, Command &command, const std::shared_ptr<EngineOptions> &engine) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App *sub = cache.add_subcommand("bench", "Time what it takes to get at kernels that are cached");
  sub->add_option("--model", options->model, "Whose kernels")->capture_default_str();
  sub->add_option("--arch", options->arch, "For which architecture")->capture_default_str();
  sub->add_option("--rounds", options->rounds, "Measurements of everything")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  sub->callback([&command, options, engine] { command = [options, engine] { return run_bench(*options, *engine); }; });
}

} // namespace sale::cli
