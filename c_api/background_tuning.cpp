// SPDX-License-Identifier: Apache-2.0
#include "c_api/error.hpp"
#include "c_api/handles.hpp"
#include "c_api/structs.hpp"
#include "c_api/to_cpp.hpp"

#include <utility>

using namespace sale;
using namespace sale::c_api;

namespace {

std::int32_t to_c(BackgroundTuning::State state) {
  switch (state) {
  case BackgroundTuning::State::running: return SALE_TUNING_RUNNING;
  case BackgroundTuning::State::done: return SALE_TUNING_DONE;
  case BackgroundTuning::State::failed: return SALE_TUNING_FAILED;
  case BackgroundTuning::State::stopped: break;
  }
  return SALE_TUNING_STOPPED;
}

} // namespace

sale_status sale_background_tuning_start(const sale_background_tuning_options *options,
                                         sale_background_tuning **tuning) {
  return guarded([&] {
    require(options, "options");
    require(static_cast<const void *>(tuning), "tuning");
    *tuning = new sale_background_tuning{BackgroundTuning(c_api::to_cpp(read(options)))};
  });
}

sale_status sale_background_tuning_state(sale_background_tuning *tuning, int32_t *state) {
  return guarded([&] {
    require(tuning, "tuning");
    require(state, "state");
    *state = to_c(tuning->tuning.state());
  });
}

const char *sale_background_tuning_error(const sale_background_tuning *tuning) {
  return tuning == nullptr ? "" : tuning->tuning.error().c_str();
}

sale_status sale_background_tuning_record(const sale_background_tuning *tuning, sale_tuning **record) {
  return guarded([&] {
    require(tuning, "tuning");
    require(static_cast<const void *>(record), "record");
    auto measured = tuning->tuning.record();
    *record = measured == nullptr ? nullptr : new sale_tuning{std::move(measured)};
  });
}

sale_status sale_background_tuning_stop(sale_background_tuning *tuning) {
  return guarded([&] {
    require(tuning, "tuning");
    tuning->tuning.stop();
  });
}

void sale_background_tuning_release(sale_background_tuning *tuning) { delete tuning; }
