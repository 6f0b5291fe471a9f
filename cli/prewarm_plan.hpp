// SPDX-License-Identifier: Apache-2.0
// What `sale prewarm` has to see to: from a command line, or from a manifest, which it may also write.
#pragma once

#include "cli/prewarm_options.hpp"
#include "io/manifest.hpp"
#include "runtime/prewarm.hpp"

#include <string>
#include <vector>

namespace sale::cli {

struct PrewarmPlan {
  std::vector<std::string> archs;
  std::vector<NamedNeed> named;
  std::vector<PlannedKernel> kernels;

  std::vector<Need> needs() const;
};

/// `engine` = options.engine_options(). Throws Error(invalid_argument) where the command line or the manifest is wrong,
/// and when this version makes other kernels than the manifest's.
PrewarmPlan plan_prewarm(const PrewarmOptions &options, const Options &engine);

io::Manifest manifest_of(const PrewarmPlan &plan);

} // namespace sale::cli
