// SPDX-License-Identifier: Apache-2.0
// KernelSpec -> binary: from memory or disk when it is there, else generated, compiled and published. Needs no GPU, and
// no NVRTC as long as everything is cached. BinaryKind::source is generated and nothing more.
#pragma once

#include "cache/memory.hpp"
#include "cache/store.hpp"
#include "generator/kernel_spec.hpp"
#include "runtime/compiler.hpp"
#include "sale/sale.hpp"

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace sale {

struct KernelRequest {
  KernelSpec spec;
  BinaryKind kind = BinaryKind::cubin;
};

/// What the request is found by; the same everywhere and with every compiler.
std::string cache_key(const KernelRequest &request);

struct BuiltKernel {
  KernelSpec spec;
  std::shared_ptr<const Entry> entry;
  KernelInfo info;
};

class KernelFactory {
public:
  explicit KernelFactory(Options options);

  /// Every requested kernel, in order; Options.progress hears of each.
  std::vector<BuiltKernel> build(const std::vector<KernelRequest> &requests) const;

  /// Whether it need not be compiled.
  bool has(const KernelRequest &request) const;

  CacheCounters counters() const;

  /// As Options.warning.
  void warn(const std::string &sentence) const { options_.warning(sentence); }

private:
  BuiltKernel build_one(const KernelRequest &request) const;
  std::shared_ptr<const Entry> make(const KernelRequest &request, const std::string &source,
                                    const std::string &key) const;
  std::shared_ptr<const Entry> find(const std::string &key) const;
  void compile(const KernelRequest &request, const std::string &source, Entry &entry) const;
  const std::optional<CompilerId> &compiler_id() const;
  const Compiler &compiler() const;

  Options with_callbacks_in_turn(Options options);

  mutable std::mutex callbacks_; ///< Held around Options.warning and Options.progress.
  Options options_;
  std::optional<Store> store_;
  mutable MemoryCache memory_;

  mutable std::once_flag located_;
  mutable std::optional<NvrtcFiles> nvrtc_files_;
  mutable std::optional<CompilerId> compiler_id_;
  mutable std::mutex compiler_mutex_;
  mutable std::unique_ptr<const Compiler> compiler_;
};

} // namespace sale
