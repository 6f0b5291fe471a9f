// SPDX-License-Identifier: Apache-2.0
#include "c_api/error.hpp"
#include "c_api/handles.hpp"
#include "c_api/structs.hpp"
#include "c_api/to_cpp.hpp"

using namespace sale;
using namespace sale::c_api;

sale_status sale_swappable_plan_create(int device, const sale_options *options, const sale_problem *problem,
                                       const sale_policy *policy, const sale_serving *serving,
                                       sale_swappable_plan **plan) {
  return guarded([&] {
    require(problem, "problem");
    require(static_cast<const void *>(plan), "plan");
    *plan = new sale_swappable_plan{SwappablePlan(device, to_cpp(read(options)), to_cpp(read(problem)),
                                                  to_cpp(read(policy)), to_cpp(read(serving)))};
  });
}

sale_status sale_swappable_plan_current(const sale_swappable_plan *plan, sale_plan **current) {
  return guarded([&] {
    require(plan, "plan");
    require(static_cast<const void *>(current), "current");
    *current = new sale_plan{plan->plan.current()};
  });
}

sale_status sale_swappable_plan_use(sale_swappable_plan *plan, const sale_tuning *tuning) {
  return guarded([&] {
    require(plan, "plan");
    plan->plan.use(tuning == nullptr ? nullptr : tuning->record);
  });
}

void sale_swappable_plan_release(sale_swappable_plan *plan) { delete plan; }
