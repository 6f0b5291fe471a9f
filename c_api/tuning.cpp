// SPDX-License-Identifier: Apache-2.0
#include "c_api/error.hpp"
#include "c_api/handles.hpp"
#include "c_api/structs.hpp"
#include "c_api/to_cpp.hpp"

#include <utility>

using namespace sale;
using namespace sale::c_api;

sale_status sale_tuning_load(const char *file, sale_tuning **tuning) {
  return guarded([&] {
    require(file, "file");
    require(static_cast<const void *>(tuning), "tuning");
    *tuning = new sale_tuning{load_tuning(file)};
  });
}

sale_status sale_tuning_load_layers(const sale_tuning_layers *layers, sale_tuning **tuning) {
  return guarded([&] {
    require(static_cast<const void *>(tuning), "tuning");
    auto record = load_tuning_layers(to_cpp(read(layers)));
    *tuning = record == nullptr ? nullptr : new sale_tuning{std::move(record)};
  });
}

void sale_tuning_release(sale_tuning *tuning) { delete tuning; }
