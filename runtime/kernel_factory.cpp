// SPDX-License-Identifier: Apache-2.0
#include "runtime/kernel_factory.hpp"

#include "cache/directory.hpp"
#include "generator/generate.hpp"
#include "core/parallel_for.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <utility>

namespace sale {

namespace {

std::string key_of(const KernelRequest &request, const std::string &source) {
  return kernel_key({source, compile_options_text(request.spec.arch, request.kind),
                     target_name(request.spec.arch, request.kind), request.kind});
}

std::optional<Store> open_store(const Options &options) {
  if (!options.use_disk_cache) {
    return std::nullopt;
  }
  const std::filesystem::path root = options.cache_dir.empty() ? default_cache_dir() : options.cache_dir;
  if (root.empty()) {
    options.warning("no kernel cache: neither SALE_CACHE_DIR, XDG_CACHE_HOME nor HOME is set");
    return std::nullopt;
  }
  return std::optional<Store>(std::in_place, StoreOptions{.root = root}, options.warning);
}

KernelInfo info_of(const KernelSpec &spec, const Entry &entry, bool from_cache, double milliseconds) {
  KernelInfo info;
  info.name = spec.describe();
  info.arch = spec.arch.name();
  info.key = entry.key;
  info.from_cache = from_cache;
  info.registers = entry.registers;
  info.spill_bytes = entry.spill_bytes;
  info.shared_memory = entry.static_shared_memory + entry.dynamic_shared_memory;
  info.binary_bytes = entry.binary.size();
  info.milliseconds = milliseconds;
  return info;
}

} // namespace

std::string cache_key(const KernelRequest &request) { return key_of(request, generate(request.spec)); }

KernelFactory::KernelFactory(Options options)
    : options_(with_callbacks_in_turn(std::move(options))), store_(open_store(options_)) {}

Options KernelFactory::with_callbacks_in_turn(Options options) {
  options.warning = [this, warning = std::move(options.warning)](const std::string &sentence) {
    const std::scoped_lock lock(callbacks_);
    if (warning) {
      warning(sentence);
    } else {
      fmt::print(stderr, "sale: warning: {}\n", sentence);
    }
  };
  return options;
}

std::vector<BuiltKernel> KernelFactory::build(const std::vector<KernelRequest> &requests) const {
  std::vector<BuiltKernel> kernels(requests.size());
  const int total = static_cast<int>(requests.size());
  int done = 0;
  const auto build_at = [&](std::int64_t i) {
    const auto index = static_cast<std::size_t>(i);
    kernels[index] = build_one(requests[index]);
    const std::scoped_lock lock(callbacks_);
    ++done;
    if (options_.progress) {
      options_.progress(kernels[index].info, done, total);
    }
  };
  parallel_for(total, build_at, options_.jobs);
  return kernels;
}

bool KernelFactory::has(const KernelRequest &request) const { return find(cache_key(request)) != nullptr; }

CacheCounters KernelFactory::counters() const {
  CacheCounters counters;
  if (store_) {
    const StoreCounters disk = store_->counters();
    counters.user_hits = disk.hits;
    counters.misses = disk.misses;
    counters.published = disk.published;
    counters.repairs = disk.corrupt;
    counters.disk_errors = disk.errors;
  }
  return counters;
}

BuiltKernel KernelFactory::build_one(const KernelRequest &request) const {
  const auto start = std::chrono::steady_clock::now();
  const std::string source = generate(request.spec);
  const std::string key = key_of(request, source);
  std::shared_ptr<const Entry> entry = request.kind == BinaryKind::source ? nullptr : find(key);
  const bool from_cache = entry != nullptr;
  if (!from_cache) {
    entry = make(request, source, key);
  }
  memory_.insert(entry);
  const double milliseconds =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return {request.spec, entry, info_of(request.spec, *entry, from_cache, milliseconds)};
}

std::shared_ptr<const Entry> KernelFactory::find(const std::string &key) const {
  if (auto entry = memory_.find(key)) {
    return entry;
  }
  if (store_) {
    if (auto entry = store_->lookup(key, compiler_id())) {
      return std::make_shared<const Entry>(std::move(*entry));
    }
  }
  return nullptr;
}

std::shared_ptr<const Entry> KernelFactory::make(const KernelRequest &request, const std::string &source,
                                                 const std::string &key) const {
  auto entry = std::make_shared<Entry>();
  entry->key = key;
  entry->kind = request.kind;
  entry->target = target_name(request.spec.arch, request.kind);
  entry->spec = request.spec.describe();
  entry->entry_name = request.spec.entry_name();
  entry->dynamic_shared_memory = request.spec.shared_memory();
  if (request.kind == BinaryKind::source) {
    entry->binary.assign(source.begin(), source.end());
    return entry;
  }
  compile(request, source, *entry);
  if (store_) {
    store_->publish(*entry);
  }
  return entry;
}

void KernelFactory::compile(const KernelRequest &request, const std::string &source, Entry &entry) const {
  const Compiler &with = compiler();
  CompiledKernel kernel = with.compile(source, request.spec.arch, request.kind, request.spec.describe());
  entry.compiler_version = with.nvrtc().version();
  entry.compiler_build = with.nvrtc().files().build;
  entry.registers = kernel.resources.registers;
  entry.spill_bytes = kernel.resources.spill_bytes;
  entry.static_shared_memory = kernel.resources.static_shared_memory;
  entry.binary = std::move(kernel.binary);
}

const std::optional<CompilerId> &KernelFactory::compiler_id() const {
  std::call_once(located_, [this] {
    try {
      nvrtc_files_ = locate_nvrtc(options_.nvrtc);
      compiler_id_ = CompilerId{nvrtc_files_->version, nvrtc_files_->build};
    } catch (const Error &) {
      // Without a compiler any compiler's entry serves; a miss searches again and then says what is wrong.
      nvrtc_files_.reset();
    }
  });
  return compiler_id_;
}

const Compiler &KernelFactory::compiler() const {
  const std::scoped_lock lock(compiler_mutex_);
  if (!compiler_) {
    compiler_id();
    const NvrtcFiles files = nvrtc_files_ ? *nvrtc_files_ : locate_nvrtc(options_.nvrtc);
    compiler_ = std::make_unique<const Compiler>(Nvrtc::open(files));
  }
  return *compiler_;
}

} // namespace sale
