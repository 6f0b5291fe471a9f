// SPDX-License-Identifier: Apache-2.0
// An entry to test with.
#pragma once

#include "cache/entry.hpp"
#include "tests/support/temporary_folder.hpp"

#include <string>

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

} // namespace sale
