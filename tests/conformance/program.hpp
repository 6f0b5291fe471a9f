// SPDX-License-Identifier: Apache-2.0
// What the command line of a conformance program asks for.
#pragma once

#include "tests/conformance/case.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace sale::conformance {

struct ProgramOptions {
  std::string cases;             ///< Only cases whose full name contains this.
  std::filesystem::path driver;  ///< Empty = this machine's CUDA driver; else e.g. the emulator's.
  std::filesystem::path golden;  ///< The folder of golden files.
  std::filesystem::path record;  ///< Write golden files there instead of testing.
  std::filesystem::path dump;    ///< Write every output there, one file of 32-bit words per case, instead of testing.
  std::filesystem::path sources; ///< Write every case's CUDA source there instead of testing; needs no device.
  std::string provenance;        ///< Date and driver version of the recording, for the golden files.
};

ProgramOptions &program_options();

/// What this program was built for: empty, or the emulator's library.
std::filesystem::path default_driver();

const std::vector<std::string> &family_names();

/// Those of a family that the command line asks for.
std::vector<const Case *> chosen_cases(const std::string &family);

} // namespace sale::conformance
