// SPDX-License-Identifier: Apache-2.0
// sale info: what this machine and this build can do, and which files that comes from.
#include "cli/command.hpp"
#include "cli/device_choice.hpp"
#include "cli/engine_options.hpp"
#include "cli/output.hpp"
#include "cli/text.hpp"

#include "cache/store.hpp"
#include "core/supported.hpp"
#include "generator/arch.hpp"
#include "io/model.hpp"
#include "runtime/driver.hpp"
#include "runtime/nvrtc.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <array>
#include <memory>

namespace sale::cli {

namespace {

using Json = nlohmann::ordered_json;

struct InfoOptions {
  EngineOptions engine;
  bool json = false;
};

Json describe_device(const Driver &driver, int ordinal) {
  cu::Device device = 0;
  driver.check(driver.api.device_get(&device, ordinal), "cuDeviceGet");
  std::array<char, 256> name{};
  driver.check(driver.api.device_name(name.data(), static_cast<int>(name.size()), device), "cuDeviceGetName");
  int major = 0;
  int minor = 0;
  driver.check(driver.api.device_attribute(&major, cu::compute_capability_major, device), "cuDeviceGetAttribute");
  driver.check(driver.api.device_attribute(&minor, cu::compute_capability_minor, device), "cuDeviceGetAttribute");
  std::size_t memory = 0;
  driver.check(driver.api.device_memory(&memory, device), "cuDeviceTotalMem");
  Json json = {{"device", ordinal},
               {"name", std::string(name.data())},
               {"compute_capability", fmt::format("{}.{}", major, minor)},
               {"memory_bytes", memory}};
  try {
    const DeviceArch arch = arch_for_device(major, minor);
    json["kernels"] = arch.as_ptx ? arch.arch.virtual_name() : arch.arch.name();
  } catch (const Error &error) {
    json["problem"] = error.what();
  }
  return json;
}

Json describe_driver(const std::string &library) {
  try {
    const auto driver = Driver::open(library);
    Json json = {{"file", driver->file().string()}, {"cuda_version", driver->version()}, {"devices", Json::array()}};
    int count = 0;
    driver->check(driver->api.device_count(&count), "cuDeviceGetCount");
    for (int ordinal = 0; ordinal < count; ++ordinal) {
      json["devices"].push_back(describe_device(*driver, ordinal));
    }
    return json;
  } catch (const Error &error) {
    return {{"problem", error.what()}, {"devices", Json::array()}};
  }
}

// The library's file, or null: the emulator is no GPU of this machine.
Json describe_emulator() {
  const std::filesystem::path library = find_emulator();
  return library.empty() ? Json() : Json(library.string());
}

Json describe_nvrtc(const std::string &requested) {
  try {
    const auto nvrtc = Nvrtc::open(locate_nvrtc(requested));
    std::vector<std::string> archs;
    for (const int arch : nvrtc->archs()) {
      archs.push_back(fmt::format("sm_{}", arch));
    }
    return {{"version", nvrtc->version()},
            {"file", nvrtc->files().library.string()},
            {"builtins", nvrtc->files().builtins.string()},
            {"found_through", nvrtc->files().why},
            {"archs", archs}};
  } catch (const Error &error) {
    return {{"problem", error.what()}};
  }
}

Json describe_cache(const EngineOptions &engine) {
  try {
    const Store store({.root = engine.cache_folder(), .writable = false}, warn);
    std::size_t bytes = 0;
    const auto files = store.list();
    for (const StoredFile &file : files) {
      bytes += file.bytes;
    }
    return {{"folder", store.root().string()}, {"kernels", files.size()}, {"bytes", bytes}};
  } catch (const Error &error) {
    return {{"problem", error.what()}};
  }
}

// What was tested how, best first; every release says it anew.
constexpr std::array grades = {"run on hardware", "numerics checked through PTX JIT", "compiled only"};

const char *grade_of(const Arch &arch) {
  if (arch.major == 9) {
    return grades[0];
  }
  return arch == Arch{8, 0} || arch == Arch{8, 9} ? grades[1] : grades[2];
}

template <class Values>
Json names_of(const Values &values) {
  Json names = Json::array();
  for (const auto value : values) {
    names.push_back(to_string(value));
  }
  return names;
}

Json describe_support() {
  Json archs = Json::object();
  for (const Arch &arch : supported_archs()) {
    archs[arch.name()] = grade_of(arch);
  }
  return {{"archs", archs},
          {"dtypes", names_of(supported_dtypes)},
          {"head_dims", supported_head_dims},
          {"unequal_head_dims", supported_unequal_head_dims}, // of Q and K, and of V
          {"estimators", names_of(supported_estimators)},
          {"block_q", supported_block_q},
          {"block_k", supported_block_k},
          {"models", io::known_models()}};
}

std::string joined(const Json &list) {
  std::vector<std::string> words;
  for (const Json &item : list) {
    words.push_back(item.is_string() ? item.get<std::string>() : item.dump());
  }
  return fmt::format("{}", fmt::join(words, " "));
}

void line(const char *label, const std::string &text) { fmt::print("{:<12}{}\n", label, text); }

void print_devices(const Json &driver) {
  if (driver.contains("problem")) {
    line("GPU", "none: " + driver["problem"].get<std::string>());
    return;
  }
  line("driver",
       fmt::format("CUDA {}, {}", driver["cuda_version"].get<std::string>(), driver["file"].get<std::string>()));
  for (const Json &device : driver["devices"]) {
    const std::string kernels =
        device.contains("problem") ? device["problem"].get<std::string>() : device["kernels"].get<std::string>();
    line(fmt::format("GPU {}", device["device"].get<int>()).c_str(),
         fmt::format("{}, compute capability {}, {}, kernels: {}", device["name"].get<std::string>(),
                     device["compute_capability"].get<std::string>(),
                     bytes_text(device["memory_bytes"].get<std::size_t>()), kernels));
  }
}

void print_archs(const Json &archs) {
  const char *label = "archs";
  for (const std::string grade : grades) {
    Json names = Json::array();
    for (const auto &[arch, its_grade] : archs.items()) {
      if (its_grade == grade) {
        names.push_back(arch);
      }
    }
    line(label, fmt::format("{}: {}", grade, joined(names)));
    label = "";
  }
}

void print_text(const Json &info) {
  line("sale", info["version"].get<std::string>());
  print_devices(info["driver"]);
  if (const Json &emulator = info["emulator"]; !emulator.is_null()) {
    line("emulator", emulator.get<std::string>());
  }
  const Json &nvrtc = info["nvrtc"];
  if (nvrtc.contains("problem")) {
    line("NVRTC", "none: " + nvrtc["problem"].get<std::string>());
  } else {
    line("NVRTC", fmt::format("{}, found through {}", nvrtc["version"].get<std::string>(),
                              nvrtc["found_through"].get<std::string>()));
    line("", nvrtc["file"].get<std::string>());
    line("", nvrtc["builtins"].get<std::string>());
    line("", joined(nvrtc["archs"]));
  }
  const Json &cache = info["cache"];
  line("cache", cache.contains("problem")
                    ? cache["problem"].get<std::string>()
                    : fmt::format("{}: {} kernels, {}", cache["folder"].get<std::string>(),
                                  cache["kernels"].get<std::size_t>(), bytes_text(cache["bytes"].get<std::size_t>())));
  const Json &support = info["supported"];
  print_archs(support["archs"]);
  line("dtypes", joined(support["dtypes"]));
  std::string head_dims = joined(support["head_dims"]);
  for (const Json &pair : support["unequal_head_dims"]) {
    head_dims += fmt::format("; {} with V of {}", pair[0].get<int>(), pair[1].get<int>());
  }
  line("head_dims", head_dims);
  line("estimators", joined(support["estimators"]));
  line("blocks", fmt::format("block_q {}; block_k {}", joined(support["block_q"]), joined(support["block_k"])));
  line("models", joined(support["models"]));
}

int run_info(const InfoOptions &options) {
  const Json info = {{"version", SALE_VERSION},
                     {"driver", describe_driver(options.engine.cuda_driver)},
                     {"emulator", describe_emulator()},
                     {"nvrtc", describe_nvrtc(options.engine.nvrtc)},
                     {"cache", describe_cache(options.engine)},
                     {"supported", describe_support()}};
  if (options.json) {
    write_text("", json_text(info));
  } else {
    print_text(info);
  }
  return exit_ok;
}

} // namespace

void add_info(CLI::App &app, Command &command) {
  auto options = std::make_shared<InfoOptions>();
  CLI::App *sub = app.add_subcommand("info", "Show devices, driver, NVRTC, cache and what is supported");
  sub->add_flag("--json", options->json, "Machine-readable");
  options->engine.add_cache_dir_to(*sub);
  options->engine.add_nvrtc_to(*sub);
  options->engine.add_driver_to(*sub);
  sub->callback([&command, options] { command = [options] { return run_info(*options); }; });
}

} // namespace sale::cli
