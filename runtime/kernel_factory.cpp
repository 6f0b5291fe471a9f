// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernel_factory.hpp"

#include "cache/build_lock.hpp"
#include "cache/single_flight.hpp"
#include "core/job_count.hpp"
#include "core/parallel_for.hpp"
#include "generator/generate.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>

namespace sale {

namespace {

std::string key_of(const KernelRequest &request, const std::string &source) {
  return kernel_key({source, compile_options_text(request.spec.arch, request.kind),
                     target_name(request.spec.arch, request.kind), request.kind});
}

// What NVRTC takes at its most for one of these kernels.
constexpr std::uint64_t bytes_per_compile = 150'000'000;

// Shared by all factories of the process, so that several Engines compile a kernel once.
SingleFlight<Entry> &flights() {
  static SingleFlight<Entry> all;
  return all;
}

double milliseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

bool frozen_by_environment() {
  const char *value = std::getenv("SALE_FROZEN");
  return value != nullptr && *value != '\0' && std::string_view(value) != "0";
}

KernelInfo info_of(const KernelSpec &spec, const Entry &entry) {
  KernelInfo info;
  info.name = spec.describe();
  info.arch = spec.arch.name();
  info.key = entry.key;
  info.from_cache = true;
  info.registers = entry.registers;
  info.spill_bytes = entry.spill_bytes;
  info.shared_memory = entry.static_shared_memory + entry.dynamic_shared_memory;
  info.binary_bytes = entry.binary.size();
  return info;
}

Entry header_of(const KernelRequest &request, const std::string &key) {
  Entry entry;
  entry.key = key;
  entry.kind = request.kind;
  entry.target = target_name(request.spec.arch, request.kind);
  entry.spec = request.spec.describe();
  entry.entry_name = request.spec.entry_name();
  entry.dynamic_shared_memory = request.spec.shared_memory();
  return entry;
}

[[noreturn]] void fail_missing(const KernelSpec &spec, const std::function<std::string()> &how_to_add) {
  throw Error(ErrorKind::not_cached,
              fmt::format("kernel \"{}\" is in no layer of the kernel cache, and nothing is compiled (frozen)",
                          spec.describe()),
              {.where = "frozen",
               .spec = spec.describe(),
               .advice = how_to_add ? how_to_add() : "compile it where SALE_FROZEN and Options.frozen are not set"});
}

} // namespace

std::string cache_key(const KernelRequest &request) { return key_of(request, generate(request.spec)); }

KernelFactory::KernelFactory(const Options &options)
    : callbacks_(options), frozen_(options.frozen || frozen_by_environment()), jobs_(options.jobs),
      compile_seconds_(options.compile_seconds), lock_seconds_(options.lock_seconds),
      layers_(LayerOptions::of(options), [this](const std::string &sentence) { callbacks_.warn(sentence); }),
      compiler_(options.nvrtc) {}

KernelFactory::~KernelFactory() { layers_.set_history(counters()); }

std::vector<BuiltKernel> KernelFactory::build(const std::vector<KernelRequest> &requests,
                                              const std::function<std::string()> &how_to_add) const {
  const Cancellation cancellation(callbacks_);
  cancellation.check();
  std::vector<BuiltKernel> kernels(requests.size());
  const int total = static_cast<int>(requests.size());
  std::mutex mutex;
  int done = 0;
  const auto finish = [&](std::size_t index, BuiltKernel kernel) {
    kernels[index] = std::move(kernel);
    const std::scoped_lock lock(mutex);
    callbacks_.progress(kernels[index].info, ++done, total);
  };
  std::vector<std::size_t> open;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (auto known = memo_.find(requests[i])) {
      ++counts_.memory_hits;
      log(known->info, true);
      finish(i, std::move(*known));
    } else {
      open.push_back(i);
    }
  }
  const auto start = std::chrono::steady_clock::now();
  const auto build_at = [&](std::int64_t i) {
    const std::size_t index = open[static_cast<std::size_t>(i)];
    cancellation.check();
    finish(index, build_one(requests[index], cancellation, how_to_add));
  };
  if (!open.empty()) {
    parallel_for(static_cast<std::int64_t>(open.size()), build_at, job_count(jobs_, bytes_per_compile));
  }
  if (callbacks_.says(LogLevel::info)) {
    const auto compiled =
        std::count_if(open.begin(), open.end(), [&](std::size_t i) { return !kernels[i].info.from_cache; });
    const auto opened = static_cast<std::ptrdiff_t>(open.size());
    callbacks_.log(LogLevel::info,
                   fmt::format("{} kernels in {:.1f} ms: {} in memory, {} from the cache, {} compiled", total,
                               milliseconds_since(start), total - opened, opened - compiled, compiled));
  }
  return kernels;
}

BuiltKernel KernelFactory::build_one(const KernelRequest &request, const Cancellation &cancellation,
                                     const std::function<std::string()> &how_to_add) const {
  const auto start = std::chrono::steady_clock::now();
  Job job{request, generate(request.spec), {}, cancellation};
  job.key = key_of(request, job.source);
  EntryPointer entry;
  if (request.kind == BinaryKind::source) {
    Entry source = header_of(request, job.key);
    source.binary.assign(job.source.begin(), job.source.end());
    entry = std::make_shared<const Entry>(std::move(source));
    job.compiled = true;
  } else if (entry = find_on_disk(job.key); entry == nullptr) {
    ++counts_.misses;
    if (frozen_) {
      fail_missing(request.spec, how_to_add);
    }
    entry = make_once(job);
  }
  BuiltKernel kernel = remember(request, entry);
  kernel.info.from_cache = !job.compiled;
  kernel.info.milliseconds = milliseconds_since(start);
  log(kernel.info, false);
  return kernel;
}

void KernelFactory::log(const KernelInfo &kernel, bool in_memory) const {
  if (callbacks_.says(LogLevel::debug)) {
    callbacks_.log(
        LogLevel::debug,
        fmt::format("{} of {} ({}): {} in {:.1f} ms, {} registers, {} bytes spilled, {} bytes of shared memory",
                    kernel.name, kernel.arch, kernel.key,
                    in_memory           ? "in memory"
                    : kernel.from_cache ? "from the cache"
                                        : "compiled",
                    in_memory ? 0.0 : kernel.milliseconds, kernel.registers, kernel.spill_bytes, kernel.shared_memory));
  }
}

BuiltKernel KernelFactory::remember(const KernelRequest &request, const EntryPointer &entry) const {
  BuiltKernel kernel{request.spec, entry, info_of(request.spec, *entry)};
  memo_.insert(request, kernel);
  return kernel;
}

// Frozen, whatever compiler made it serves: nothing else is to be had.
KernelFactory::EntryPointer KernelFactory::find_on_disk(const std::string &key) const {
  if (!layers_.any()) {
    return nullptr;
  }
  std::optional<Found> found = layers_.lookup(key, frozen_ ? std::nullopt : compiler_.id());
  return found ? std::make_shared<const Entry>(std::move(found->entry)) : nullptr;
}

// Threads of this process that want the same kernel in the same folder at once share one compile.
KernelFactory::EntryPointer KernelFactory::make_once(Job &job) const {
  if (!compiler_.id()) {
    compiler_.get(); // says what is wrong
  }
  const CompilerId &id = *compiler_.id();
  // Another deadline might fail where this one does not.
  const std::string flight =
      fmt::format("{} {} {} {} {}", job.key, id.version, id.build, compile_seconds_, layers_.user_root().string());
  const auto cancelled = [&] { return job.cancellation.now(); };
  return flights().run(
      flight,
      [&] {
        // It may have been made between the look at the cache and here.
        if (const auto known = memo_.find(job.request)) {
          return known->entry;
        }
        EntryPointer made = make_locked(job, id);
        remember(job.request, made); // for whoever missed it before and comes here when this flight has ended
        return made;
      },
      cancelled);
}

KernelFactory::EntryPointer KernelFactory::make_locked(Job &job, const CompilerId &id) const {
  std::optional<BuildLock> lock;
  const std::optional<std::filesystem::path> path = layers_.lock_path(job.key, id);
  if (path && lock_seconds_ > 0) {
    lock = BuildLock::acquire(*path, {.wait_seconds = lock_seconds_}, [&] { return job.cancellation.now(); });
    counts_.lock_waits += lock->waited() ? 1 : 0;
    counts_.lock_timeouts += lock->gave_up() ? 1 : 0;
    job.cancellation.check();
  }
  if (EntryPointer made = find_on_disk(job.key)) {
    return made;
  }
  return make(job);
}

void KernelFactory::log_compiler(const Nvrtc &nvrtc) const {
  std::call_once(compiler_is_logged_, [&] {
    if (callbacks_.says(LogLevel::info)) {
      callbacks_.log(LogLevel::info, fmt::format("kernels are compiled by NVRTC {} ({})", nvrtc.version(),
                                                 nvrtc.files().library.string()));
    }
  });
}

KernelFactory::EntryPointer KernelFactory::make(Job &job) const {
  const KernelSpec &spec = job.request.spec;
  const Compiler &compiler = compiler_.get();
  log_compiler(compiler.nvrtc());
  CompileGuard guard(compile_seconds_, job.cancellation);
  job.compiled = true;
  ++counts_.compiles;
  CompiledKernel kernel = compiler.compile(job.source, spec.arch, job.request.kind, spec.describe(), &guard);
  auto entry = std::make_shared<Entry>(header_of(job.request, job.key));
  entry->compiler_version = compiler.nvrtc().version();
  entry->compiler_build = compiler.nvrtc().files().build;
  entry->registers = kernel.resources.registers;
  entry->spill_bytes = kernel.resources.spill_bytes;
  entry->static_shared_memory = kernel.resources.static_shared_memory;
  entry->binary = std::move(kernel.binary);
  layers_.publish(*entry);
  return entry;
}

bool KernelFactory::has(const KernelRequest &request) const {
  return memo_.find(request) || find_on_disk(cache_key(request)) != nullptr;
}

CacheCounters KernelFactory::counters() const {
  CacheCounters counters = layers_.counters();
  counters.memory_hits = counts_.memory_hits;
  counters.misses = counts_.misses;
  counters.compiles = counts_.compiles;
  counters.lock_waits = counts_.lock_waits;
  counters.lock_timeouts = counts_.lock_timeouts;
  return counters;
}

} // namespace sale
