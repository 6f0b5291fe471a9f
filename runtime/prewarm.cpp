// SPDX-License-Identifier: Apache-2.0
#include "generator/generate.hpp"
#include "runtime/kernel_factory.hpp"

#include <algorithm>

namespace sale {

std::vector<KernelInfo> prewarm(const std::vector<std::string> &archs, const Problem &problem, const Policy &policy,
                                const Options &options, const Serving &serving) {
  std::vector<Arch> targets;
  for (const std::string &name : archs) {
    const Arch arch = parse_arch(name);
    if (std::find(targets.begin(), targets.end(), arch) == targets.end()) {
      targets.push_back(arch);
    }
  }
  std::vector<KernelRequest> requests;
  for (const Arch &arch : targets) {
    for (const KernelSpec &spec : plan_kernels(problem, policy, arch, serving)) {
      requests.push_back({spec, BinaryKind::cubin});
    }
  }
  std::vector<KernelInfo> infos;
  for (const BuiltKernel &kernel : KernelFactory(options).build(requests)) {
    infos.push_back(kernel.info);
  }
  return infos;
}

} // namespace sale
