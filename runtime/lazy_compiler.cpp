// SPDX-License-Identifier: Apache-2.0
#include "runtime/lazy_compiler.hpp"

#include "sale/error.hpp"

namespace sale {

const std::optional<CompilerId> &LazyCompiler::id() const {
  std::call_once(located_, [this] {
    try {
      files_ = locate_nvrtc(requested_);
      id_ = CompilerId{files_->version, files_->build};
    } catch (const Error &) {
      // Without a compiler any compiler's kernel serves; what must be compiled searches again and says what is wrong.
      files_.reset();
    }
  });
  return id_;
}

const Compiler &LazyCompiler::get() const {
  const std::scoped_lock lock(mutex_);
  if (!compiler_) {
    id();
    compiler_ = std::make_unique<const Compiler>(Nvrtc::open(files_ ? *files_ : locate_nvrtc(requested_)));
  }
  return *compiler_;
}

} // namespace sale
