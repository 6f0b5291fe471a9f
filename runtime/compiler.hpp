// SPDX-License-Identifier: Apache-2.0
// CUDA source to cubin or PTX through NVRTC. Several threads may compile at once.
#pragma once

#include "cache/key.hpp"
#include "generator/kernel_spec.hpp"
#include "runtime/compile_guard.hpp"
#include "runtime/nvrtc.hpp"
#include "runtime/ptxas_log.hpp"

#include <memory>
#include <string>
#include <vector>

namespace sale {

struct CompiledKernel {
  std::vector<unsigned char> binary; ///< Cubin, or zero-terminated PTX.
  KernelResources resources;         ///< Zero for PTX.
  std::string log;
  double milliseconds = 0;
};

/// "compute_90" for PTX, else "sm_90".
std::string target_name(const Arch &arch, BinaryKind kind);

/// Every option that decides the binary, part of the cache key; none for source.
std::vector<std::string> compile_options(const Arch &arch, BinaryKind kind);

/// The same as one text.
std::string compile_options_text(const Arch &arch, BinaryKind kind);

class Compiler {
public:
  explicit Compiler(std::shared_ptr<const Nvrtc> nvrtc) : nvrtc_(std::move(nvrtc)) {}

  /// Throws Error(compile) with log, options and spec; its sentence names the architectures that this NVRTC has when
  /// `arch` is not one of them. A `guard` may end it, with its own error.
  CompiledKernel compile(const std::string &source, const Arch &arch, BinaryKind kind, const std::string &spec,
                         CompileGuard *guard = nullptr) const;

  const Nvrtc &nvrtc() const { return *nvrtc_; }

private:
  std::shared_ptr<const Nvrtc> nvrtc_;
};

} // namespace sale
