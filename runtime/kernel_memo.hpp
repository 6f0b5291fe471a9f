// SPDX-License-Identifier: Apache-2.0
// Kernels that a factory has built, by specification: a second request neither generates nor hashes a source.
#pragma once

#include "cache/entry.hpp"
#include "generator/kernel_spec.hpp"
#include "sale/sale.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <unordered_map>

namespace sale {

struct KernelRequest {
  KernelSpec spec;
  BinaryKind kind = BinaryKind::cubin;
  friend bool operator==(const KernelRequest &, const KernelRequest &) = default;
};

struct BuiltKernel {
  KernelSpec spec;
  std::shared_ptr<const Entry> entry;
  KernelInfo info;
};

class KernelMemo {
public:
  std::optional<BuiltKernel> find(const KernelRequest &request) const;
  void insert(const KernelRequest &request, BuiltKernel kernel);

private:
  struct Hash {
    std::size_t operator()(const KernelRequest &request) const noexcept;
  };
  mutable std::shared_mutex mutex_;
  std::unordered_map<KernelRequest, BuiltKernel, Hash> kernels_;
};

} // namespace sale
