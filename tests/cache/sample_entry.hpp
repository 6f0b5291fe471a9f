// SPDX-License-Identifier: Apache-2.0
// An entry and a folder to test with.
#pragma once

#include "cache/entry.hpp"

#include <filesystem>
#include <string>
#include <unistd.h>

namespace sale {

inline Entry sample_entry(const std::string &key = std::string(64, 'a')) {
  Entry entry;
  entry.key = key;
  entry.target = "sm_90";
  entry.compiler_version = "13.0";
  entry.compiler_build = "65be0db3";
  entry.spec = "attend sm_90 bf16 d128";
  entry.entry_name = "sale_attend";
  entry.registers = 168;
  entry.spill_bytes = 8;
  entry.static_shared_memory = 16;
  entry.dynamic_shared_memory = 98304;
  for (int i = 0; i < 300; ++i) {
    entry.binary.push_back(static_cast<unsigned char>(i * 7));
  }
  return entry;
}

/// A new empty folder, removed with everything in it.
class TemporaryFolder {
public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "sale-test-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder &) = delete;
  TemporaryFolder &operator=(const TemporaryFolder &) = delete;
  const std::filesystem::path &path() const { return path_; }

private:
  std::filesystem::path path_;
};

} // namespace sale
