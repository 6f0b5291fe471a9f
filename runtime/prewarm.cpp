// SPDX-License-Identifier: Apache-2.0
#include "runtime/prewarm.hpp"

#include "generator/generate.hpp"
#include "runtime/tuned_tiles.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>

namespace sale {

namespace {

constexpr std::string_view virtual_prefix = "compute_";

// Each once, in order.
std::vector<std::string> without_repeats(const std::vector<std::string> &names) {
  std::vector<std::string> once;
  for (const std::string &name : names) {
    if (std::find(once.begin(), once.end(), name) == once.end()) {
      once.push_back(name);
    }
  }
  return once;
}

} // namespace

KernelTarget parse_target(const std::string &name) {
  if (!name.starts_with(virtual_prefix)) {
    return {parse_arch(name), BinaryKind::cubin};
  }
  const Arch arch = parse_arch(fmt::format("sm_{}", name.substr(virtual_prefix.size())));
  if (arch.specific) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("PTX of {} runs on no other GPU than its machine code; name {}", name, arch.name()));
  }
  return {arch, BinaryKind::ptx};
}

std::vector<PlannedKernel> planned_kernels(const std::vector<std::string> &archs, const std::vector<Need> &needs,
                                           const Options &options) {
  std::vector<KernelTarget> targets;
  std::vector<Arch> tuned;
  for (const std::string &name : without_repeats(archs)) {
    targets.push_back(parse_target(name));
    tuned.push_back(targets.back().arch);
  }
  const TunedTiles tiles(options, tuned);
  std::vector<PlannedKernel> kernels;
  std::set<std::string> keys;
  for (const auto &[arch, kind] : targets) {
    for (const Need &need : needs) {
      const std::vector<KernelSpec> specs = plan_kernels(need.problem, need.policy, arch, need.serving);
      for (const KernelSpec &spec : tiles.with_choices(specs)) {
        const KernelRequest request{spec, kind};
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
