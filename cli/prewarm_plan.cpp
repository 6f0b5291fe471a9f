// SPDX-License-Identifier: Apache-2.0
#include "cli/prewarm_plan.hpp"

#include "sale/error.hpp"
#include "sale/version.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <map>

namespace sale::cli {

namespace {

// Of several: what differs in both directions is one cause, so one sentence names the first.
void require_same_kernels(const io::Manifest &manifest, const PrewarmPlan &plan, const std::string &tuning) {
  std::map<std::string, const PlannedKernel *> planned;
  for (const PlannedKernel &kernel : plan.kernels) {
    planned.emplace(kernel.key, &kernel);
  }
  const auto refuse = [&](int line, const std::string &kernel, const std::string &what) {
    throw Error(
        ErrorKind::invalid_argument,
        fmt::format("{}:{}: {} {}: the manifest was made by another version, {}, and this is libsale {}, or with "
                    "other tuning records than --tuning {} has here; write it anew with --write-manifest",
                    manifest.file_name, line, kernel, what, manifest.library, version(), tuning));
  };
  for (const io::ManifestKernel &kernel : manifest.kernels) {
    const bool asked = std::find(plan.archs.begin(), plan.archs.end(), kernel.arch) != plan.archs.end();
    if (asked && planned.erase(kernel.key) == 0) {
      refuse(kernel.line, kernel.name, "is made differently here, or not at all");
    }
  }
  if (!planned.empty()) {
    refuse(1, planned.begin()->second->request.spec.describe(), "is not in it");
  }
}

std::vector<std::string> chosen_archs(const std::vector<std::string> &asked, const io::Manifest &manifest) {
  for (const std::string &arch : asked) {
    if (std::find(manifest.archs.begin(), manifest.archs.end(), arch) == manifest.archs.end()) {
      throw Error(ErrorKind::invalid_argument, fmt::format("{}: --arch {} is not among its archs, which are {}",
                                                           manifest.file_name, arch, fmt::join(manifest.archs, ", ")));
    }
  }
  return asked.empty() ? manifest.archs : asked;
}

} // namespace

std::vector<Need> PrewarmPlan::needs() const {
  std::vector<Need> needs;
  std::transform(named.begin(), named.end(), std::back_inserter(needs),
                 [](const NamedNeed &each) { return each.need; });
  return needs;
}

PrewarmPlan plan_prewarm(const PrewarmOptions &options, const Options &engine) {
  PrewarmPlan plan;
  if (options.manifest.empty()) {
    plan.named = options.needs();
    plan.archs = options.archs;
    plan.kernels = planned_kernels(plan.archs, plan.needs(), engine);
    return plan;
  }
  const io::Manifest manifest = io::load_manifest(options.manifest);
  plan.archs = chosen_archs(options.archs, manifest);
  plan.named = manifest.needs;
  plan.kernels = planned_kernels(plan.archs, plan.needs(), engine);
  require_same_kernels(manifest, plan, options.tuning.tuning);
  return plan;
}

io::Manifest manifest_of(const PrewarmPlan &plan) {
  io::Manifest manifest;
  manifest.library = version();
  manifest.archs = plan.archs;
  manifest.needs = plan.named;
  for (const PlannedKernel &kernel : plan.kernels) {
    const KernelSpec &spec = kernel.request.spec;
    manifest.kernels.push_back({spec.describe(), target_name(spec.arch, kernel.request.kind), kernel.key});
  }
  return manifest;
}

} // namespace sale::cli
