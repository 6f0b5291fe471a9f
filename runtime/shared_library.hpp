// SPDX-License-Identifier: Apache-2.0
// A library opened at run time. It is never closed: drivers and compilers leave threads and handlers behind.
#pragma once

#include <filesystem>
#include <string>

namespace sale {

class SharedLibrary {
public:
  /// Null handle on failure; `problem()` then is the loader's message. A name without a slash uses the loader's path.
  static SharedLibrary open(const std::filesystem::path &path);

  explicit operator bool() const { return handle_ != nullptr; }
  const std::string &problem() const { return problem_; }
  void *symbol(const char *name) const;
  /// The file that the loader chose.
  std::filesystem::path file() const;

private:
  void *handle_ = nullptr;
  std::filesystem::path asked_;
  std::string problem_;
};

} // namespace sale
