// SPDX-License-Identifier: Apache-2.0
// KernelSpec -> binary: from memory or a layer of the cache when it is there, else generated, compiled and published.
// Needs no GPU, and no NVRTC as long as everything is cached. BinaryKind::source is generated and nothing more.
#pragma once

#include "cache/layers.hpp"
#include "runtime/callbacks.hpp"
#include "runtime/kernel_memo.hpp"
#include "runtime/lazy_compiler.hpp"
#include "sale/sale.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace sale {

/// What the request is found by; the same everywhere and with every compiler.
std::string cache_key(const KernelRequest &request);

class KernelFactory {
public:
  /// Touches no file.
  explicit KernelFactory(const Options &options);
  /// Adds its counters to those of the user's folder.
  ~KernelFactory();
  KernelFactory(const KernelFactory &) = delete;
  KernelFactory &operator=(const KernelFactory &) = delete;

  /// Every requested kernel, in order; Options.progress hears of each. `how_to_add` is the advice for a kernel that is
  /// missing while nothing may be compiled.
  std::vector<BuiltKernel> build(const std::vector<KernelRequest> &requests,
                                 const std::function<std::string()> &how_to_add = {}) const;

  /// Whether it need not be compiled.
  bool has(const KernelRequest &request) const;

  CacheCounters counters() const;

  const Callbacks &callbacks() const { return callbacks_; }

private:
  // One kernel on its way.
  struct Job {
    const KernelRequest &request;
    std::string source;
    std::string key;
    const Cancellation &cancellation;
    bool compiled = false; ///< Here, rather than found or made by somebody else.
  };
  using EntryPointer = std::shared_ptr<const Entry>;

  BuiltKernel build_one(const KernelRequest &request, const Cancellation &cancellation,
                        const std::function<std::string()> &how_to_add) const;
  BuiltKernel remember(const KernelRequest &request, const EntryPointer &entry) const;
  EntryPointer find_on_disk(const std::string &key) const;
  EntryPointer make_once(Job &job) const;
  EntryPointer make_locked(Job &job, const CompilerId &id) const;
  EntryPointer make(Job &job) const;
  void log(const KernelInfo &kernel, bool in_memory) const;
  void log_compiler(const Nvrtc &nvrtc) const;

  Callbacks callbacks_;
  bool frozen_;
  int jobs_;
  double compile_seconds_;
  double lock_seconds_;
  Layers layers_;
  LazyCompiler compiler_;
  mutable std::once_flag compiler_is_logged_;
  mutable KernelMemo memo_;

  struct Counts {
    std::atomic<std::uint64_t> memory_hits{0}, misses{0}, compiles{0}, lock_waits{0}, lock_timeouts{0};
  };
  mutable Counts counts_;
};

} // namespace sale
