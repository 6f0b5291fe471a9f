// SPDX-License-Identifier: Apache-2.0
// Files and errors to test with.
#pragma once

#include "sale/error.hpp"
#include "tests/support/temporary_folder.hpp"

#include <fstream>
#include <gtest/gtest.h>

namespace sale::io {

inline std::filesystem::path write_file(const TemporaryFolder &folder, const std::string &name,
                                        const std::string &text) {
  const std::filesystem::path path = folder.path() / name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

/// The message of the sale::Error that `action` throws; fails the test when it throws none.
template <class Action>
std::string message_of(const Action &action) {
  try {
    action();
  } catch (const Error &error) {
    return error.what();
  }
  ADD_FAILURE() << "no sale::Error was thrown";
  return {};
}

inline void expect_contains(const std::string &text, const std::string &part) {
  EXPECT_NE(text.find(part), std::string::npos) << "\"" << part << "\" is not in: " << text;
}

} // namespace sale::io
