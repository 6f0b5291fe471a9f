// SPDX-License-Identifier: Apache-2.0
#include "device.hpp"

#include <dlfcn.h>

#include <stdexcept>

namespace example {

using Address = unsigned long long;

struct Device::Api {
  void *library = nullptr;
  void *context = nullptr;
  int (*init)(unsigned) = nullptr;
  int (*retain_context)(void **, int) = nullptr;
  int (*release_context)(int) = nullptr;
  int (*push_context)(void *) = nullptr;
  int (*pop_context)(void **) = nullptr;
  int (*allocate)(Address *, std::size_t) = nullptr;
  int (*free)(Address) = nullptr;
  int (*to_device)(Address, const void *, std::size_t) = nullptr;
  int (*to_host)(void *, Address, std::size_t) = nullptr;

  template <class Function>
  void find(Function &function, const char *name) const {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) {
      throw std::runtime_error(std::string("the driver has no ") + name);
    }
  }
};

namespace {

void check(int result, const char *what) {
  if (result != 0) {
    throw std::runtime_error(std::string(what) + " failed with CUDA error " + std::to_string(result));
  }
}

} // namespace

Device::Device(const std::string &driver) : api_(std::make_unique<Api>()) {
  api_->library = dlopen(driver.c_str(), RTLD_NOW);
  if (api_->library == nullptr) {
    throw std::runtime_error(dlerror());
  }
  api_->find(api_->init, "cuInit");
  api_->find(api_->retain_context, "cuDevicePrimaryCtxRetain");
  api_->find(api_->release_context, "cuDevicePrimaryCtxRelease_v2");
  api_->find(api_->push_context, "cuCtxPushCurrent_v2");
  api_->find(api_->pop_context, "cuCtxPopCurrent_v2");
  api_->find(api_->allocate, "cuMemAlloc_v2");
  api_->find(api_->free, "cuMemFree_v2");
  api_->find(api_->to_device, "cuMemcpyHtoD_v2");
  api_->find(api_->to_host, "cuMemcpyDtoH_v2");
  check(api_->init(0), "cuInit");
  check(api_->retain_context(&api_->context, 0), "cuDevicePrimaryCtxRetain");
  check(api_->push_context(api_->context), "cuCtxPushCurrent");
}

Device::~Device() {
  void *popped = nullptr;
  api_->pop_context(&popped);
  api_->release_context(0);
}

Buffer::Buffer(const Device &device, std::size_t bytes) : api_(device.api()), bytes_(bytes) {
  Address address = 0;
  check(api_.allocate(&address, bytes), "cuMemAlloc");
  data_ = reinterpret_cast<void *>(address);
}

Buffer::~Buffer() { api_.free(reinterpret_cast<Address>(data_)); }

void Buffer::upload(const void *from) {
  check(api_.to_device(reinterpret_cast<Address>(data_), from, bytes_), "cuMemcpyHtoD");
}

void Buffer::download(void *to) const {
  check(api_.to_host(to, reinterpret_cast<Address>(data_), bytes_), "cuMemcpyDtoH");
}

} // namespace example
