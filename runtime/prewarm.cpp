// SPDX-License-Identifier: Apache-2.0
#include "runtime/prewarm.hpp"

#include "generator/generate.hpp"
#include "runtime/tuned_tiles.hpp"

#include <algorithm>
#include <set>

namespace sale {

namespace {

std::vector<Arch> parse_archs(const std::vector<std::string> &names) {
  std::vector<Arch> archs;
  for (const std::string &name : names) {
    const Arch arch = parse_arch(name);
    if (std::find(archs.begin(), archs.end(), arch) == archs.end()) {
      archs.push_back(arch);
    }
  }
  return archs;
}

} // namespace

std::vector<PlannedKernel> planned_kernels(const std::vector<std::string> &archs, const std::vector<Need> &needs,
                                           const Options &options) {
  const std::vector<Arch> targets = parse_archs(archs);
  const TunedTiles tiles(options, targets);
  std::vector<PlannedKernel> kernels;
  std::set<std::string> keys;
  for (const Arch &arch : targets) {
    for (const Need &need : needs) {
      const std::vector<KernelSpec> specs = plan_kernels(need.problem, need.policy, arch, need.serving);
      for (const KernelSpec &spec : tiles.with_choices(specs)) {
        const KernelRequest request{spec, BinaryKind::cubin};
        std::string key = cache_key(request);
        if (keys.insert(key).second) {
          kernels.push_back({request, std::move(key)});
        }
      }
    }
  }
  return kernels;
}

std::vector<KernelInfo> prewarm(const std::vector<std::string> &archs, const std::vector<Need> &needs,
                                const Options &options) {
  std::vector<KernelRequest> requests;
  for (const PlannedKernel &kernel : planned_kernels(archs, needs, options)) {
    requests.push_back(kernel.request);
  }
  std::vector<KernelInfo> infos;
  for (const BuiltKernel &kernel : KernelFactory(options).build(requests)) {
    infos.push_back(kernel.info);
  }
  return infos;
}

std::vector<KernelInfo> prewarm(const std::vector<std::string> &archs, const Problem &problem, const Policy &policy,
                                const Options &options, const Serving &serving) {
  return prewarm(archs, {{problem, policy, serving}}, options);
}

std::vector<KernelInfo> missing(const std::vector<std::string> &archs, const std::vector<Need> &needs,
                                const Options &options) {
  const KernelFactory factory(options);
  std::vector<KernelInfo> infos;
  for (const PlannedKernel &kernel : planned_kernels(archs, needs, options)) {
    if (!factory.has(kernel.request)) {
      KernelInfo info;
      info.name = kernel.request.spec.describe();
      info.arch = kernel.request.spec.arch.name();
      info.key = kernel.key;
      infos.push_back(std::move(info));
    }
  }
  return infos;
}

} // namespace sale
