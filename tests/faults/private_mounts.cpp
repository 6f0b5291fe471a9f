// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/private_mounts.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sale::faults {

namespace {

// Root of its own mounts: as root at once, as anybody else where the system lets users have namespaces.
bool may_mount() {
  const auto user = ::getuid();
  const auto group = ::getgid();
  if (::unshare(CLONE_NEWNS) != 0) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
      return false;
    }
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/uid_map") << fmt::format("0 {} 1", user);
    std::ofstream("/proc/self/gid_map") << fmt::format("0 {} 1", group);
  }
  return ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

Row run_inside(const std::function<Row()> &rounds) {
  Row row;
  if (!may_mount()) {
    row.skipped = fmt::format("no private mounts here ({})", std::strerror(errno));
    return row;
  }
  try {
    return rounds();
  } catch (const std::exception &error) {
    row.problem = error.what();
    return row;
  }
}

void require(int result, const char *call) {
  if (result != 0) {
    throw std::runtime_error(fmt::format("{}: {}", call, std::strerror(errno)));
  }
}

} // namespace

Row with_private_mounts(const std::function<Row()> &rounds) {
  int ends[2];
  require(::pipe(ends), "pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string text = run_inside(rounds).serialize();
    const bool told = ::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::_exit(told ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text;
  std::array<char, 4096> part{};
  for (ssize_t size = 0; (size = ::read(ends[0], part.data(), part.size())) > 0;) {
    text.append(part.data(), static_cast<std::size_t>(size));
  }
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  return Row::parse(text);
}

void mount_small(const std::filesystem::path &folder, std::size_t bytes) {
  std::filesystem::create_directories(folder);
  require(::mount("tmpfs", folder.c_str(), "tmpfs", 0, fmt::format("size={},mode=0700", bytes).c_str()), "mount");
}

void make_read_only(const std::filesystem::path &folder) {
  require(::mount("tmpfs", folder.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), "mount");
}

void unmount(const std::filesystem::path &folder) { require(::umount2(folder.c_str(), MNT_DETACH), "umount"); }

} // namespace sale::faults
