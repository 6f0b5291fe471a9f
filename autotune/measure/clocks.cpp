// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/clocks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace sale::autotune {

namespace {

constexpr cu::DeviceAttribute pci_bus{33};
constexpr cu::DeviceAttribute pci_device{34};
constexpr cu::DeviceAttribute pci_domain{50};

// Of nvml.h.
constexpr int nvml_success = 0;
constexpr int clock_of_sm = 1;
constexpr int clock_of_memory = 2;
constexpr unsigned long long hardware_slowdown = 0x8;
constexpr unsigned long long software_thermal = 0x20;
constexpr unsigned long long hardware_thermal = 0x40;
constexpr unsigned long long power_brake = 0x80;

constexpr double most_deviation = 0.1;

std::string bus_id(const Device &of) {
  const CurrentContext current(of);
  const Driver &driver = of.driver();
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

// The upper one of two in the middle; 0 of nothing.
double median(std::vector<double> values) {
  if (values.empty()) {
    return 0;
  }
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

} // namespace

GpuClocks::GpuClocks(const Device &device, const std::filesystem::path &library) {
  const std::string id = device.driver().emulated() ? "" : bus_id(device);
  if (id.empty()) {
    return;
  }
  library_ = SharedLibrary::open(library);
  int (*init)() = nullptr;
  int (*find_gpu)(const char *, NvmlDevice *) = nullptr;
  int (*version)(char *, unsigned) = nullptr;
  if (!library_ || !find(init, "nvmlInit_v2") || !find(find_gpu, "nvmlDeviceGetHandleByPciBusId_v2") ||
      init() != nvml_success) {
    return;
  }
  find(clock_info_, "nvmlDeviceGetClockInfo");
  find(power_limit_, "nvmlDeviceGetPowerManagementLimit");
  if (!find(slow_reasons_, "nvmlDeviceGetCurrentClocksEventReasons")) {
    find(slow_reasons_, "nvmlDeviceGetCurrentClocksThrottleReasons"); // its name before driver 535
  }
  std::array<char, 96> text{};
  if (find(version, "nvmlSystemGetDriverVersion") && version(text.data(), text.size() - 1) == nvml_success) {
    driver_version_ = text.data();
  }
  if (find_gpu(id.c_str(), &gpu_) != nvml_success) {
    gpu_ = nullptr;
  }
}

bool GpuClocks::is_slowed() {
  if (gpu_ == nullptr) {
    return false;
  }
  if (const unsigned mhz = clock(clock_of_sm); mhz != 0) {
    sm_mhz_.push_back(mhz);
  }
  unsigned long long reasons = 0;
  return slow_reasons_ != nullptr && slow_reasons_(gpu_, &reasons) == nvml_success &&
         (reasons & (hardware_slowdown | software_thermal | hardware_thermal | power_brake)) != 0;
}

unsigned GpuClocks::clock(int kind) const {
  unsigned mhz = 0;
  return gpu_ != nullptr && clock_info_ != nullptr && clock_info_(gpu_, kind, &mhz) == nvml_success ? mhz : 0;
}

double GpuClocks::power_limit_watts() const {
  unsigned milliwatts = 0;
  return gpu_ != nullptr && power_limit_ != nullptr && power_limit_(gpu_, &milliwatts) == nvml_success
             ? milliwatts / 1e3
             : 0;
}

double GpuClocks::memory_mhz() const { return clock(clock_of_memory); }

double GpuClocks::median_sm_mhz() const { return median(sm_mhz_); }

std::vector<bool> disturbed_rounds(const std::vector<RoundTimes> &rounds) {
  const std::size_t tiles = rounds.empty() ? 0 : rounds.front().size();
  std::size_t counted = 0;
  std::vector<std::size_t> off(rounds.size());
  for (std::size_t tile = 0; tile < tiles; ++tile) {
    std::vector<double> of_tile;
    of_tile.reserve(rounds.size());
    for (const RoundTimes &round : rounds) {
      of_tile.push_back(round[tile]);
    }
    const double middle = median(of_tile);
    counted += middle > 0 ? 1 : 0; // a tile that failed has no times
    for (std::size_t i = 0; i < rounds.size(); ++i) {
      off[i] += std::abs(of_tile[i] - middle) > most_deviation * middle ? 1 : 0;
    }
  }
  std::vector<bool> disturbed(rounds.size());
  std::transform(off.begin(), off.end(), disturbed.begin(), [&](std::size_t count) { return 2 * count > counted; });
  return disturbed;
}

TakenRounds undisturbed_rounds(std::size_t wanted, const std::function<std::optional<RoundTimes>()> &measure,
                               const std::function<bool()> &is_slowed) {
  std::vector<RoundTimes> rounds;
  std::vector<bool> slowed;
  std::vector<bool> disturbed;
  const auto good = [&] { return static_cast<std::size_t>(std::count(disturbed.begin(), disturbed.end(), false)); };
  while (good() < wanted && rounds.size() < 2 * wanted) {
    std::optional<RoundTimes> times = measure();
    if (!times) {
      break;
    }
    rounds.push_back(std::move(*times));
    slowed.push_back(is_slowed());
    if (rounds.size() >= wanted) {
      disturbed = disturbed_rounds(rounds);
      std::transform(disturbed.begin(), disturbed.end(), slowed.begin(), disturbed.begin(), std::logical_or<>());
    }
  }
  disturbed.resize(rounds.size());
  TakenRounds taken;
  taken.disturbed = static_cast<int>(rounds.size() - good());
  if (good() == 0) {
    taken.rounds = std::move(rounds);
    return taken;
  }
  for (std::size_t i = 0; i < rounds.size() && taken.rounds.size() < wanted; ++i) {
    if (!disturbed[i]) {
      taken.rounds.push_back(std::move(rounds[i]));
    }
  }
  return taken;
}

} // namespace sale::autotune
