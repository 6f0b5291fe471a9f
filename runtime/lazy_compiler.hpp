// SPDX-License-Identifier: Apache-2.0
// The compiler that a factory would use: located when something must know which it is, loaded when something must be
// compiled.
#pragma once

#include "cache/compiler_id.hpp"
#include "runtime/compiler.hpp"

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>

namespace sale {

class LazyCompiler {
public:
  explicit LazyCompiler(std::filesystem::path requested) : requested_(std::move(requested)) {}

  /// Nothing where there is none. Looks at files only, unless nothing but the loader knows one.
  const std::optional<CompilerId> &id() const;
  /// Throws Error(not_found).
  const Compiler &get() const;

private:
  std::filesystem::path requested_;
  mutable std::once_flag located_;
  mutable std::optional<NvrtcFiles> files_;
  mutable std::optional<CompilerId> id_;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<const Compiler> compiler_;
};

} // namespace sale
