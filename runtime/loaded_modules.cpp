// SPDX-License-Identifier: Apache-2.0
#include "runtime/loaded_modules.hpp"

namespace sale {

Kernel LoadedModules::load(const std::shared_ptr<const Device> &device, const BuiltKernel &built) const {
  Kernel kernel;
  kernel.spec = built.spec;
  kernel.options = compile_options_text(built.spec.arch, built.entry->kind);
  kernel.threads = static_cast<unsigned>(built.spec.threads());
  kernel.shared_memory = static_cast<unsigned>(built.spec.shared_memory());
  const std::scoped_lock lock(mutex_);
  std::weak_ptr<const Module> &loaded = modules_[built.entry->key];
  kernel.module = loaded.lock();
  if (kernel.module == nullptr) {
    kernel.module = std::make_shared<const Module>(device, *built.entry, kernel.options);
    loaded = kernel.module;
  }
  return kernel;
}

} // namespace sale
