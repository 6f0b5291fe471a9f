// SPDX-License-Identifier: Apache-2.0
#include "c_api/error.hpp"
#include "c_api/handles.hpp"
#include "c_api/structs.hpp"
#include "c_api/to_cpp.hpp"

#include <fmt/format.h>

#include <utility>

namespace sale::c_api {

void write_kernel(const std::vector<KernelInfo> &kernels, std::size_t index, sale_kernel_info *to) {
  require(to, "kernel");
  if (index >= kernels.size()) {
    throw Error(ErrorKind::invalid_argument, fmt::format("there is no kernel {}; there are {}", index, kernels.size()));
  }
  write(to_c(kernels[index]), to);
}

} // namespace sale::c_api

using namespace sale;
using namespace sale::c_api;

sale_status sale_prewarm(const char *const *archs, size_t archs_count, const sale_need *needs, size_t needs_count,
                         const sale_options *options, sale_kernel_list **kernels) {
  return guarded([&] {
    std::vector<KernelInfo> compiled =
        prewarm(strings_to_cpp(archs, archs_count, "archs"), needs_to_cpp(needs, needs_count), to_cpp(read(options)));
    if (kernels != nullptr) {
      *kernels = new sale_kernel_list{std::move(compiled)};
    }
  });
}

sale_status sale_missing(const char *const *archs, size_t archs_count, const sale_need *needs, size_t needs_count,
                         const sale_options *options, sale_kernel_list **kernels) {
  return guarded([&] {
    require(static_cast<const void *>(kernels), "kernels");
    *kernels = new sale_kernel_list{
        missing(strings_to_cpp(archs, archs_count, "archs"), needs_to_cpp(needs, needs_count), to_cpp(read(options)))};
  });
}

size_t sale_kernel_list_count(const sale_kernel_list *kernels) {
  return kernels == nullptr ? 0 : kernels->kernels.size();
}

sale_status sale_kernel_list_get(const sale_kernel_list *kernels, size_t index, sale_kernel_info *kernel) {
  return guarded([&] {
    require(kernels, "kernels");
    write_kernel(kernels->kernels, index, kernel);
  });
}

void sale_kernel_list_release(sale_kernel_list *kernels) { delete kernels; }
