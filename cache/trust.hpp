// SPDX-License-Identifier: Apache-2.0
// Whose files and folders are believed: what is loaded from them runs on the device.
#pragma once

#include <string>

#include <sys/stat.h>

namespace sale {

enum class Keeper {
  me,         ///< The effective user alone.
  me_or_root, ///< Of a system's folder.
  anybody     ///< Whoever names the file vouches for it.
};

/// Why this file or folder is not believed; empty when it is.
std::string distrust(const struct stat &info, Keeper keeper);

} // namespace sale
