// SPDX-License-Identifier: Apache-2.0
#include "c_api/error.hpp"
#include "c_api/handles.hpp"
#include "c_api/structs.hpp"
#include "c_api/to_cpp.hpp"
#include "sale/version.hpp"

using namespace sale;
using namespace sale::c_api;

int sale_c_api_version(void) { return SALE_C_API_VERSION; } // NOLINT(modernize-redundant-void-arg)
const char *sale_version(void) { return sale::version(); }  // NOLINT(modernize-redundant-void-arg)

sale_status sale_validate(const sale_problem *problem, const sale_policy *policy, const sale_serving *serving) {
  return guarded([&] {
    require(problem, "problem");
    const Problem of = to_cpp(read(problem));
    const Policy with = to_cpp(read(policy));
    validate(of);
    validate(with, of);
    validate(to_cpp(read(serving)), of, with);
  });
}

sale_status sale_engine_create(int device, const sale_options *options, sale_engine **engine) {
  return guarded([&] {
    require(static_cast<const void *>(engine), "engine");
    *engine = new sale_engine{Engine(device, to_cpp(read(options)))};
  });
}

void sale_engine_release(sale_engine *engine) { delete engine; }

sale_status sale_engine_prepare(const sale_engine *engine, const sale_problem *problem, const sale_policy *policy,
                                const sale_serving *serving, sale_plan **plan) {
  return guarded([&] {
    require(engine, "engine");
    require(problem, "problem");
    require(static_cast<const void *>(plan), "plan");
    *plan = new sale_plan{engine->engine.prepare(to_cpp(read(problem)), to_cpp(read(policy)), to_cpp(read(serving)))};
  });
}

const char *sale_engine_device_name(const sale_engine *engine) {
  return engine == nullptr ? "" : engine->device_name.c_str();
}

const char *sale_engine_arch(const sale_engine *engine) { return engine == nullptr ? "" : engine->arch.c_str(); }

sale_status sale_engine_cache_counters(const sale_engine *engine, sale_cache_counters *counters) {
  return guarded([&] {
    require(engine, "engine");
    require(counters, "counters");
    write(to_c(engine->engine.cache_counters()), counters);
  });
}
