// SPDX-License-Identifier: Apache-2.0
#include "bench/gpu_monitor.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

namespace sale::bench {

namespace {

// CUDA's numbers of devices are not nvidia-smi's where CUDA_VISIBLE_DEVICES is set; the bus is the same.
constexpr cu::DeviceAttribute pci_bus{33};
constexpr cu::DeviceAttribute pci_device{34};
constexpr cu::DeviceAttribute pci_domain{50};

// Empty where the driver does not say.
std::string bus_id(const Driver &driver) {
  cu::Device device = 0;
  int bus = 0;
  int slot = 0;
  int domain = 0;
  const bool known = driver.api.context_device(&device) == cu::success &&
                     driver.api.device_attribute(&bus, pci_bus, device) == cu::success &&
                     driver.api.device_attribute(&slot, pci_device, device) == cu::success &&
                     driver.api.device_attribute(&domain, pci_domain, device) == cu::success;
  return known ? fmt::format("{:08X}:{:02X}:{:02X}.0", domain, bus, slot) : "";
}

} // namespace

std::optional<GpuReading> parse_reading(const std::string &line, std::string &driver) {
  std::array<char, 64> name{};
  GpuReading reading;
  if (std::sscanf(line.c_str(), " %63[0-9.], %lf, %lf, %lf, %lf", name.data(), &reading.sm_mhz, &reading.memory_mhz,
                  &reading.watts, &reading.celsius) != 5) {
    return std::nullopt;
  }
  driver = name.data();
  return reading;
}

GpuMonitor::GpuMonitor(const Driver &driver) {
  if (const std::string id = bus_id(driver); !id.empty()) {
    start(id);
    read_line();
  }
}

GpuMonitor::~GpuMonitor() { stop(); }

void GpuMonitor::start(const std::string &bus_id) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return;
  }
  std::array<std::string, 5> words = {"nvidia-smi",
                                      "--query-gpu=driver_version,clocks.sm,clocks.mem,power.draw,temperature.gpu",
                                      "--format=csv,noheader,nounits", "--loop-ms=250", "--id=" + bus_id};
  std::array<char *, 6> arguments{};
  for (std::size_t i = 0; i < words.size(); ++i) {
    arguments[i] = words[i].data();
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  const int problem = ::posix_spawnp(&process_, words[0].c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (problem != 0) {
    process_ = -1;
    ::close(ends[0]);
    return;
  }
  pipe_ = ends[0];
}

// Blocks; false at the end of the output.
bool GpuMonitor::read_line() {
  std::size_t end = pending_.find('\n');
  while (end == std::string::npos) {
    std::array<char, 512> block{};
    const ssize_t bytes = pipe_ < 0 ? 0 : ::read(pipe_, block.data(), block.size());
    if (bytes < 0 && errno == EINTR) {
      continue;
    }
    if (bytes <= 0) {
      return false;
    }
    pending_.append(block.data(), static_cast<std::size_t>(bytes));
    end = pending_.find('\n');
  }
  if (const auto reading = parse_reading(pending_.substr(0, end), log_.driver)) {
    log_.readings.push_back(*reading);
  }
  pending_.erase(0, end + 1);
  return true;
}

GpuLog GpuMonitor::stop() {
  if (process_ > 0) {
    ::kill(process_, SIGTERM);
    while (read_line()) {
    }
    ::waitpid(process_, nullptr, 0);
    ::close(pipe_);
    process_ = -1;
    pipe_ = -1;
  }
  return std::exchange(log_, {});
}

} // namespace sale::bench
