// SPDX-License-Identifier: Apache-2.0
#include "generator/generate.hpp"
#include "runtime/arch_choice.hpp"
#include "runtime/capture.hpp"
#include "runtime/kernel_factory.hpp"
#include "runtime/loaded_modules.hpp"
#include "runtime/plan_state.hpp"
#include "runtime/prewarm_command.hpp"
#include "runtime/tuned_tiles.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace sale {

namespace {

// The stages whose tiles tuning chooses; null for others.
StageKernels *tuned_stage(PlanKernels &kernels, const KernelSpec &spec) {
  switch (spec.stage) {
  case Stage::prepare: return &kernels.prepare;
  case Stage::select: return &kernels.select;
  case Stage::attend: return spec.dense ? &kernels.attend_dense : &kernels.attend;
  default: return nullptr;
  }
}

Kernel &other_stage(PlanKernels &kernels, const KernelSpec &spec) {
  switch (spec.stage) {
  case Stage::sequences: return kernels.sequences;
  case Stage::tails: return kernels.tails;
  case Stage::merge: return kernels.merge;
  case Stage::count: return kernels.count;
  case Stage::mean: return kernels.mean;
  case Stage::channels: return kernels.channels;
  case Stage::amax: return kernels.amax;
  case Stage::values: return kernels.values;
  default: return spec.fp8_attend ? kernels.quantize_all : kernels.quantize;
  }
}

template <class T>
DeviceArray upload(const std::shared_ptr<const Device> &device, const std::vector<T> &values) {
  DeviceArray array(device, values.size() * sizeof(T));
  array.upload(values.data());
  return array;
}

} // namespace

struct Engine::State {
  State(int ordinal, Options options)
      : device(std::make_shared<const Device>(Driver::open(options.cuda_driver), ordinal)),
        target(choose_target(options.arch, device->major(), device->minor(), device->driver().emulated())),
        factory(options), tiles(std::move(options.tuning), device->name(), target.arch, device->multiprocessors(),
                                [this](const std::string &sentence) { factory.callbacks().warn(sentence); }) {
    if (factory.callbacks().says(LogLevel::info)) {
      factory.callbacks().log(LogLevel::info,
                              fmt::format("{}, {} multiprocessors, driver {} (CUDA {}); kernels are for {}",
                                          device->name(), device->multiprocessors(), device->driver().file().string(),
                                          device->driver().version(), target_name(target.arch, target.kind)));
    }
  }

  std::shared_ptr<const Device> device;
  KernelTarget target;
  KernelFactory factory;
  TunedTiles tiles;
  LoadedModules modules;
};

Engine::Engine(int device, Options options) : state_(std::make_shared<State>(device, std::move(options))) {}

Plan Engine::prepare(const Problem &problem, const Policy &policy, const Serving &serving) const {
  const CurrentContext scope(*state_->device);
  require_no_capture(state_->device->driver(), cu::legacy_stream(), "Engine::prepare");
  const auto [arch, kind] = state_->target;
  std::vector<KernelRequest> requests;
  for (const KernelSpec &spec : state_->tiles.with_choices(plan_kernels(problem, policy, arch, serving))) {
    requests.push_back({spec, kind});
  }
  const std::vector<BuiltKernel> built = state_->factory.build(requests, [&, name = target_name(arch, kind)] {
    return fmt::format("add it with `{}{}`", prewarm_command({name}, problem, policy, serving),
                       state_->tiles.prewarm_words());
  });

  const RelaxedCapture relaxed(state_->device->driver());
  auto state = std::make_shared<Plan::State>();
  PlanKernels &kernels = state->kernels;
  kernels.problem = problem;
  kernels.policy = policy;
  kernels.serving = serving;
  kernels.device = state_->device;
  for (const BuiltKernel &kernel : built) {
    Kernel loaded = state_->modules.load(state_->device, kernel);
    if (StageKernels *stage = tuned_stage(kernels, kernel.spec)) {
      stage->add(std::move(loaded));
    } else {
      other_stage(kernels, kernel.spec) = std::move(loaded);
    }
    state->infos.push_back(kernel.info);
  }
  for (StageKernels *stage : {&kernels.prepare, &kernels.select, &kernels.attend, &kernels.attend_dense}) {
    stage->choose_by(state_->tiles.choices(stage->spec()));
  }
  kernels.code_row_bytes = kernels.select.spec().code_row_bytes();

  std::vector<float> tau = policy.tau_per_head;
  tau.resize(static_cast<std::size_t>(problem.num_q_heads), policy.tau);
  kernels.tau = upload(state_->device, tau);
  const std::vector<float> &shift = policy.shift_per_head;
  if (std::any_of(shift.begin(), shift.end(), [](float value) { return value != 0.0F; })) {
    kernels.shift = upload(state_->device, shift);
  }
  kernels.channels_used = upload(state_->device, policy.channels);
  kernels.projection = upload(state_->device, policy.projection);
  kernels.kbar = upload(state_->device, policy.kbar);
  if (policy.dense_below > 0) {
    kernels.zeros = upload(state_->device, std::vector<float>(static_cast<std::size_t>(problem.num_q_heads)));
  }
  if (serving.counted) {
    kernels.totals = std::make_unique<const DeviceTotals>(state_->device);
  }
  return Plan(std::move(state));
}

std::string Engine::device_name() const { return state_->device->name(); }
std::string Engine::arch() const { return state_->target.arch.name(); }
CacheCounters Engine::cache_counters() const { return state_->factory.counters(); }

} // namespace sale
