// SPDX-License-Identifier: Apache-2.0
#include "cache/trust.hpp"

#include <fmt/format.h>

#include <unistd.h>

namespace sale {

std::string distrust(const struct stat &info, Keeper keeper) {
  if (keeper == Keeper::anybody) {
    return {};
  }
  const uid_t me = ::geteuid();
  if (info.st_uid != me && (keeper == Keeper::me || info.st_uid != 0)) {
    return fmt::format("it belongs to user {}, not to user {} who runs this", info.st_uid, me);
  }
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return "others may write into it (chmod go-w makes it usable)";
  }
  return {};
}

} // namespace sale
