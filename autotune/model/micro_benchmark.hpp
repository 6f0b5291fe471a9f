// SPDX-License-Identifier: Apache-2.0
// Two small kernels that tell what a GPU multiplies and reads per clock: the parameters of the cost model.
#pragma once

#include "autotune/model/gpu_parameters.hpp"
#include "runtime/device.hpp"
#include "sale/sale.hpp"

#include <memory>
#include <string>

namespace sale::autotune {

/// The CUDA source of both kernels, sale_products and sale_reads, for an architecture.
std::string micro_benchmark_source(const Arch &arch);

/// Takes a fraction of a second; the device's context is current. Throws Error where NVRTC is not there or the kernels
/// cannot run.
GpuParameters measure_parameters(const std::shared_ptr<const Device> &device, const Arch &arch, const Options &options);

} // namespace sale::autotune
