// SPDX-License-Identifier: Apache-2.0
#include "core/job_count.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sched.h>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace sale {

namespace fs = std::filesystem;

namespace {

using Number = std::optional<std::uint64_t>;

constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();

// The number at the start of what follows `label` in a small text file; none when it says "max" or -1, or there is no
// file.
Number number_after(const fs::path &file, std::string_view label) {
  std::ifstream in(file);
  std::string word;
  if (!label.empty()) {
    while (in >> word && word != label) {
    }
  }
  std::uint64_t value = 0;
  if (!(in >> word) || word.find_first_not_of("0123456789") != std::string::npos || word.size() > 20) {
    return std::nullopt;
  }
  for (const char digit : word) {
    const auto units = static_cast<std::uint64_t>(digit - '0');
    if (value > (unlimited - units) / 10) {
      return std::nullopt;
    }
    value = 10 * value + units;
  }
  return value;
}

Number number_in(const fs::path &file) { return number_after(file, {}); }

// The folders of this process's group for a controller and of the groups around it: limits of all of them hold. An
// empty controller is version 2, which has one tree for all.
std::vector<fs::path> groups(const fs::path &root, std::string_view controller) {
  std::vector<fs::path> folders;
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) {
      continue;
    }
    const std::string controllers = ',' + line.substr(first + 1, second - first - 1) + ',';
    if (controllers.find(',' + std::string(controller) + ',') == std::string::npos) {
      continue;
    }
    const fs::path top = root / "sys/fs/cgroup" / controller;
    fs::path group = fs::path(line.substr(second + 1)).lexically_normal().relative_path();
    // A path that leads out of what this container sees starts with "..".
    while (!group.empty() && *group.begin() != "..") {
      folders.push_back(top / group);
      group = group.parent_path();
    }
    folders.push_back(top);
  }
  return folders;
}

// A part of a core counts as one.
std::uint64_t cores_of(std::uint64_t quota, std::uint64_t period) {
  return period == 0 ? unlimited : std::max<std::uint64_t>(1, (quota + period - 1) / period);
}

// What a group may still take. Version 1 says "no limit" by a number near the largest.
std::uint64_t free_in_group(const fs::path &limit_file, const char *used_file, std::string_view reclaimable) {
  const Number limit = number_in(limit_file);
  if (!limit || *limit > unlimited / 4) {
    return unlimited;
  }
  const fs::path group = limit_file.parent_path();
  const std::uint64_t used = number_in(group / used_file).value_or(0);
  const std::uint64_t kept = used - std::min(used, number_after(group / "memory.stat", reclaimable).value_or(0));
  return *limit - std::min(*limit, kept);
}

} // namespace

int usable_cores(const fs::path &root) {
  std::uint64_t cores = std::max(1U, std::thread::hardware_concurrency());
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    cores = std::max(1, CPU_COUNT(&set));
  }
  for (const fs::path &group : groups(root, "")) {
    const Number quota = number_in(group / "cpu.max");
    const Number period = quota ? number_after(group / "cpu.max", std::to_string(*quota)) : std::nullopt;
    cores = std::min(cores, period ? cores_of(*quota, *period) : unlimited);
  }
  for (const fs::path &group : groups(root, "cpu")) {
    const Number quota = number_in(group / "cpu.cfs_quota_us");
    const Number period = number_in(group / "cpu.cfs_period_us");
    cores = std::min(cores, quota && period ? cores_of(*quota, *period) : unlimited);
  }
  return static_cast<int>(cores);
}

std::uint64_t available_memory(const fs::path &root) {
  const Number kibibytes = number_after(root / "proc/meminfo", "MemAvailable:");
  std::uint64_t bytes = kibibytes ? *kibibytes * 1024 : unlimited;
  for (const fs::path &group : groups(root, "")) {
    bytes = std::min(bytes, free_in_group(group / "memory.max", "memory.current", "inactive_file"));
  }
  for (const fs::path &group : groups(root, "memory")) {
    bytes =
        std::min(bytes, free_in_group(group / "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"));
  }
  return bytes;
}

int job_count(int asked, std::uint64_t bytes_per_job, const fs::path &root) {
  const std::uint64_t wanted = asked > 0 ? static_cast<std::uint64_t>(asked) : usable_cores(root);
  return static_cast<int>(std::clamp<std::uint64_t>(available_memory(root) / bytes_per_job, 1, wanted));
}

} // namespace sale
