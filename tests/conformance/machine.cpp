// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/machine.hpp"

#include "runtime/shared_library.hpp"

#include <fmt/format.h>

#include <array>
#include <cstring>

namespace sale::conformance {

namespace {

struct alignas(64) TensorMap {
  std::array<unsigned char, 128> opaque;
};

// cuTensorMapEncodeTiled, by its documented types.
using EncodeTiled = cu::Result (*)(TensorMap *map, int type, u32 rank, void *address, const u64 *sizes,
                                   const u64 *strides, const u32 *box, const u32 *element_strides, int interleave,
                                   int swizzle, int l2_promotion, int out_of_bounds_fill);

TensorMap encode(const Driver &driver, const TensorMapSpec &spec, void *tensor) {
  const SharedLibrary library = SharedLibrary::open(driver.file());
  const auto encode_tiled = reinterpret_cast<EncodeTiled>(library.symbol("cuTensorMapEncodeTiled"));
  if (encode_tiled == nullptr) {
    throw Error(ErrorKind::not_found, fmt::format("{} has no cuTensorMapEncodeTiled", driver.file().string()));
  }
  // CU_TENSOR_MAP_DATA_TYPE_UINT8, _UINT16, _UINT32; CU_TENSOR_MAP_SWIZZLE_NONE, _32B, _64B, _128B.
  const int type = spec.element_bytes == 1 ? 0 : spec.element_bytes == 2 ? 1 : 2;
  const int swizzle = spec.swizzle_bytes == 0 ? 0 : spec.swizzle_bytes == 32 ? 1 : spec.swizzle_bytes == 64 ? 2 : 3;
  const std::vector<u32> ones(spec.sizes.size(), 1);
  TensorMap map{};
  driver.check(encode_tiled(&map, type, static_cast<u32>(spec.sizes.size()), tensor, spec.sizes.data(),
                            spec.strides_bytes.data(), spec.box.data(), ones.data(), 0, swizzle, 0, 0),
               "cuTensorMapEncodeTiled");
  return map;
}

class LoadedModule {
public:
  LoadedModule(const Driver &driver, const std::vector<unsigned char> &image) : driver_(driver) {
    driver.check(driver.api.module_load(&handle_, image.data(), 0, nullptr, nullptr), "cuModuleLoadDataEx",
                 ErrorKind::load);
  }
  ~LoadedModule() { driver_.api.module_unload(handle_); }
  LoadedModule(const LoadedModule &) = delete;
  LoadedModule &operator=(const LoadedModule &) = delete;

  cu::Function function(const char *name) const {
    cu::Function found = nullptr;
    driver_.check(driver_.api.module_function(&found, handle_, name), "cuModuleGetFunction", ErrorKind::load);
    return found;
  }

private:
  const Driver &driver_;
  cu::Module handle_ = nullptr;
};

} // namespace

Machine::Machine(const std::filesystem::path &driver)
    : device_(std::make_shared<const Device>(Driver::open(driver), 0)) {
  if (!device_->driver().emulated()) {
    nvrtc_ = Nvrtc::open(locate_nvrtc({}));
  }
}

std::string Machine::describe() const {
  return fmt::format("{name} (sm_{major}{minor}), driver {driver}{nvrtc}", fmt::arg("name", device_->name()),
                     fmt::arg("major", device_->major()), fmt::arg("minor", device_->minor()),
                     fmt::arg("driver", device_->driver().version()),
                     fmt::arg("nvrtc", nvrtc_ ? ", NVRTC " + nvrtc_->version() : ""));
}

std::vector<unsigned char> Machine::compile(const Case &test) const {
  if (!nvrtc_) {
    return {test.source.c_str(), test.source.c_str() + test.source.size() + 1};
  }
  const nvrtc::Api &api = nvrtc_->api;
  nvrtc::Program program = nullptr;
  const auto check = [&](nvrtc::Result result, const char *call) {
    if (result != nvrtc::success) {
      std::size_t bytes = 0;
      api.log_size(program, &bytes);
      std::string log(bytes, ' ');
      api.log(program, log.data());
      throw Error(ErrorKind::compile, fmt::format("{} of {} failed: {}", call, test.full_name(), log));
    }
  };
  check(api.create(&program, test.source.c_str(), "conformance.cu", 0, nullptr, nullptr), "nvrtcCreateProgram");
  const std::array<const char *, 3> options = {"--gpu-architecture=sm_90a", "--std=c++17",
                                               "--modify-stack-limit=false"};
  check(api.compile(program, static_cast<int>(options.size()), options.data()), "nvrtcCompileProgram");
  std::size_t bytes = 0;
  check(api.cubin_size(program, &bytes), "nvrtcGetCUBINSize");
  std::vector<unsigned char> cubin(bytes);
  check(api.cubin(program, reinterpret_cast<char *>(cubin.data())), "nvrtcGetCUBIN");
  api.destroy(&program);
  return cubin;
}

std::vector<u32> Machine::run(const Case &test) const {
  const std::vector<unsigned char> image = compile(test);
  const CurrentContext current(*device_);
  const Driver &driver = device_->driver();
  const LoadedModule module(driver, image);
  cu::Function function = module.function("conformance");
  driver.check(driver.api.function_set(function, cu::max_dynamic_shared_memory, static_cast<int>(test.shared_bytes)),
               "cuFuncSetAttribute");

  std::vector<u32> words(test.output_words, 0);
  DeviceArray in(device_, test.input.size() * sizeof(u32));
  DeviceArray out(device_, words.size() * sizeof(u32));
  in.upload(test.input.data());
  out.upload(words.data());
  TensorMap map{};
  if (test.map) {
    map = encode(driver, *test.map,
                 static_cast<char *>(test.map->over_output ? out.data() : in.data()) + test.map->offset);
  }
  void *in_address = in.data();
  void *out_address = out.data();
  std::array<void *, 3> arguments = {&in_address, &out_address, &map};
  driver.check(driver.api.launch(function, test.grid[0], test.grid[1], test.grid[2], test.threads, 1, 1,
                                 test.shared_bytes, nullptr, arguments.data(), nullptr),
               "cuLaunchKernel");
  driver.check(driver.api.stream_synchronize(nullptr), "cuStreamSynchronize");
  out.download(words.data());
  return words;
}

} // namespace sale::conformance
