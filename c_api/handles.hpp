// SPDX-License-Identifier: Apache-2.0
// What the C API's handles point to.
#pragma once

#include "sale/background_tuning.hpp"
#include "sale/sale.h"
#include "sale/sale.hpp"
#include "sale/swappable_plan.hpp"

#include <memory>
#include <string>
#include <vector>

struct sale_engine {
  sale::Engine engine;
  std::string device_name = engine.device_name();
  std::string arch = engine.arch();
};

struct sale_plan {
  sale::Plan plan;
};

struct sale_kernel_list {
  std::vector<sale::KernelInfo> kernels;
};

struct sale_tuning {
  std::shared_ptr<const sale::TuningRecord> record;
};

struct sale_swappable_plan {
  sale::SwappablePlan plan;
};

struct sale_background_tuning {
  sale::BackgroundTuning tuning;
};
