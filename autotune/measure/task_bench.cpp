// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/task_bench.hpp"

#include "bench/device_call.hpp"
#include "runtime/workspace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace sale::autotune {

namespace {

// Whether a call runs dense is the task's to say, not its length's.
Policy policy_for(const Task &task) {
  Policy policy = task.policy;
  policy.dense_below = task.kernel.dense ? std::numeric_limits<int>::max() : 0;
  return policy;
}

// Of 16-bit elements.
std::size_t bytes_of(const Task &task, int heads, int channels) {
  return sizeof(std::uint16_t) * static_cast<std::size_t>(task.tokens) * static_cast<std::size_t>(heads) *
         static_cast<std::size_t>(channels);
}

// Q, K, V and the output.
std::size_t bytes_of_tensors(const Task &task) {
  const Problem &problem = task.problem;
  const int both = problem.head_dim + effective_v_head_dim(problem);
  return bytes_of(task, problem.num_q_heads, both) + bytes_of(task, problem.num_kv_heads, both);
}

void poison(const Driver &driver, const DeviceArray &array) {
  constexpr unsigned nans = 0xFFFFFFFF; // two of 16 bits, or one of 32
  driver.check(
      driver.api.fill_words(reinterpret_cast<cu::Address>(array.data()), nans, array.bytes() / sizeof(nans), nullptr),
      "cuMemsetD32Async");
}

} // namespace

std::shared_ptr<const TuningRecord> record_with(const GpuId &gpu, const KernelSpec &kernel, const Tile &tile) {
  TuningRecord record = empty_record();
  record.source = "the tile that is measured";
  TileChoice choice;
  choice.tile = tile;
  record.gpus.push_back({gpu.name, gpu.arch, gpu.multiprocessors, {}, {{kernel.class_name(), {choice}}}});
  return std::make_shared<const TuningRecord>(std::move(record));
}

bool has_tile(const std::vector<KernelInfo> &kernels, const KernelSpec &kernel, const Tile &tile) {
  KernelSpec wanted = kernel;
  wanted.tile = tile;
  const std::string name = wanted.describe();
  return std::any_of(kernels.begin(), kernels.end(), [&](const KernelInfo &info) { return info.name == name; });
}

std::string TaskBench::name_of(const Task &task) {
  return fmt::format("{}; {}; {}", task.describe(), input_name(task.problem, task.tokens), policy_text(task.policy));
}

TaskBench::TaskBench(std::shared_ptr<const Device> device, Options options, GpuId gpu, const Task &task, Inputs &inputs,
                     Masks &masks, BenchMemory &memory)
    : device_(std::move(device)), options_(std::move(options)), gpu_(std::move(gpu)), task_(task), name_(name_of(task)),
      memory_(memory) {
  try {
    allocate(inputs, masks);
  } catch (const Error &error) {
    if (!is_out_of_memory(error)) {
      throw;
    }
    throw Error(ErrorKind::load,
                fmt::format("calls of {} tokens need {:.1f} GiB, more than the device has free", task_.tokens,
                            static_cast<double>(bytes_of_tensors(task_) + workspace_bytes_) / (1U << 30U)),
                error.details());
  }
}

void TaskBench::allocate(Inputs &inputs, Masks &masks) {
  const Plan &plan = plan_of(task_.kernel.tile);
  workspace_bytes_ = plan.workspace_bytes({1, task_.tokens, task_.tokens});
  const Input &input = inputs.get(task_.problem, task_.tokens);
  largest_value_ = input.largest_value;
  const int v_head_dim = effective_v_head_dim(task_.problem);
  at_least(device_, workspace_bytes_, memory_.workspace);
  if (selects()) {
    at_least(device_, mask_words(task_.problem, task_.policy, input.shape) * sizeof(std::uint32_t), memory_.mask);
  } else {
    at_least(device_, bytes_of(task_, task_.problem.num_q_heads, v_head_dim), memory_.out);
  }
  args_ = input.args();
  args_.out = packed_view(memory_.out.data(), task_.problem.num_q_heads, task_.tokens, v_head_dim);
  args_.workspace = memory_.workspace.data();
  args_.workspace_bytes = memory_.workspace.bytes();
  if (selects()) {
    args_.mask_out = static_cast<std::uint32_t *>(memory_.mask.data());
  } else if (!task_.kernel.dense) {
    const DeviceMask &mask = masks.get(plan, input, memory_.workspace, task_.density);
    // The second filter needs thresholds, so the call selects, and attend's own time is taken.
    if (task_.kernel.second_filter) {
      args_.tau = static_cast<const float *>(mask.tau.data());
    } else {
      args_.mask_in = static_cast<const std::uint32_t *>(mask.words.data());
    }
  }
}

const Plan &TaskBench::plan_of(const Tile &tile) {
  for (const auto &[known, plan] : plans_) {
    if (known == tile) {
      return plan;
    }
  }
  Options with = options_;
  with.tuning = record_with(gpu_, task_.kernel, tile);
  const Engine engine(-1, with);
  Plan plan = engine.prepare(task_.problem, policy_for(task_));
  if (!has_tile(plan.kernels(), task_.kernel, tile)) {
    throw Error(
        ErrorKind::invalid_argument,
        fmt::format("a plan of this problem and policy has no kernel \"{}\" to measure", task_.kernel.class_name()));
  }
  return plans_.emplace_back(tile, std::move(plan)).second;
}

double TaskBench::stage_ms(const Plan &plan) const {
  if (!selects()) {
    return plan.profile(args_, nullptr).attend;
  }
  const StageTimes times = plan.profile_select(args_, nullptr);
  return task_.kernel.stage == Stage::prepare ? times.prepare : times.select;
}

std::string TaskBench::compare(const Tile &tile) {
  if (!has_expected_) {
    expected_ = result_of(task_.kernel.tile);
    has_expected_ = true;
  }
  return difference(result_of(tile), expected_, task_, largest_value_);
}

const std::string &TaskBench::compare_once(const Tile &tile) {
  const auto known =
      std::find_if(compared_.begin(), compared_.end(), [&](const auto &each) { return each.first == tile; });
  if (known != compared_.end()) {
    return known->second;
  }
  return compared_.emplace_back(tile, compare(tile)).second;
}

std::vector<std::uint8_t> TaskBench::head_bytes(std::size_t offset, std::size_t bytes, const void *base) const {
  const Driver &driver = device_->driver();
  const std::size_t of_head = bytes / static_cast<std::size_t>(task_.problem.num_q_heads);
  std::vector<std::uint8_t> values;
  for (const int head : bench::sampled_heads(task_.problem)) {
    values.resize(values.size() + of_head);
    const cu::Address from = reinterpret_cast<cu::Address>(base) + offset + static_cast<std::size_t>(head) * of_head;
    driver.check(driver.api.copy_to_host(values.data() + values.size() - of_head, from, of_head), "cuMemcpyDtoH");
  }
  return values;
}

StageResult TaskBench::result_of(const Tile &tile) {
  const Plan &plan = plan_of(tile);
  const Driver &driver = device_->driver();
  poison(driver, memory_.workspace);
  StageResult result;
  if (!selects()) {
    poison(driver, memory_.out);
    plan.run(args_, nullptr);
    const std::size_t head =
        static_cast<std::size_t>(task_.tokens) * static_cast<std::size_t>(effective_v_head_dim(task_.problem));
    result.out.resize(bench::sampled_heads(task_.problem).size() * head);
    std::size_t at = 0;
    for (const int h : bench::sampled_heads(task_.problem)) {
      const cu::Address from = reinterpret_cast<cu::Address>(memory_.out.data()) +
                               static_cast<std::size_t>(h) * head * sizeof(result.out[0]);
      driver.check(driver.api.copy_to_host(result.out.data() + at, from, head * sizeof(result.out[0])), "cuMemcpyDtoH");
      at += head;
    }
    return result;
  }
  poison(driver, memory_.mask);
  plan.select(args_, nullptr);
  const std::size_t mask_bytes = mask_words(task_.problem, task_.policy, args_.shape) * sizeof(std::uint32_t);
  std::vector<std::uint8_t> mask(mask_bytes);
  driver.check(driver.api.copy_to_host(mask.data(), reinterpret_cast<cu::Address>(memory_.mask.data()), mask_bytes),
               "cuMemcpyDtoH");
  result.same.push_back(std::move(mask));
  const WorkspaceLayout layout =
      workspace_layout(task_.problem, plan.policy(), args_.shape, task_.kernel.code_row_bytes());
  for (const WorkspacePiece &piece :
       {layout.threshold, layout.theta, layout.q_codes, layout.q_scales, layout.q_metadata}) {
    result.same.push_back(head_bytes(piece.offset, piece.bytes, memory_.workspace.data()));
  }
  return result;
}

} // namespace sale::autotune
