// SPDX-License-Identifier: Apache-2.0
#include "c_api/to_cpp.hpp"

#include "c_api/error.hpp"
#include "c_api/handles.hpp"
#include "c_api/structs.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <functional>

namespace sale::c_api {

namespace {

constexpr std::array dtypes = {"SALE_BF16", "SALE_F16"};
constexpr std::array estimators = {"SALE_ESTIMATOR_EXACT", "SALE_ESTIMATOR_INT8", "SALE_ESTIMATOR_INT4",
                                   "SALE_ESTIMATOR_FP8"};
constexpr std::array log_levels = {"SALE_LOG_FROM_ENVIRONMENT", "SALE_LOG_OFF", "SALE_LOG_WARNING", "SALE_LOG_INFO",
                                   "SALE_LOG_DEBUG"};

// `constants`: sale.h's, of 0 and up.
template <class Enum, std::size_t count>
Enum to_enum(std::int32_t value, const char *name, const std::array<const char *, count> &constants) {
  if (value < 0 || value >= static_cast<std::int32_t>(count)) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} is {}; it is one of {} (0 to {})", name, value, fmt::join(constants, ", "), count - 1));
  }
  return static_cast<Enum>(value);
}

// What fills a struct's end, so that members to come are new bytes.
void require_zero(std::int32_t reserved) {
  if (reserved != 0) {
    throw Error(ErrorKind::invalid_argument, fmt::format("reserved is {}; it must be 0", reserved));
  }
}

std::string text(const char *from) { return from == nullptr ? "" : from; }

template <class T>
std::vector<T> values(const T *from, std::size_t count, const char *name) {
  if (count != 0) {
    require(from, name);
  }
  return {from, from + count};
}

// Empty where there is no function.
std::function<void(const std::string &)> warning(void (*call)(const char *, void *), void *user) {
  if (call == nullptr) {
    return {};
  }
  return [call, user](const std::string &words) { call(words.c_str(), user); };
}

TensorView to_cpp(const sale_tensor &from) {
  return {from.data, from.stride_batch, from.stride_head, from.stride_token};
}

} // namespace

Problem to_cpp(const sale_problem &from) {
  Problem to;
  to.dtype = to_enum<DType>(from.dtype, "dtype", dtypes);
  to.head_dim = from.head_dim;
  to.v_head_dim = from.v_head_dim;
  to.num_q_heads = from.num_q_heads;
  to.num_kv_heads = from.num_kv_heads;
  to.causal = from.causal != 0;
  to.softmax_scale = from.softmax_scale;
  to.sliding_window = from.sliding_window;
  to.softcap = from.softcap;
  to.sink_logits = from.sink_logits != 0;
  return to;
}

Policy to_cpp(const sale_policy &from) {
  require_zero(from.reserved);
  Policy to;
  to.estimator = to_enum<Estimator>(from.estimator, "estimator", estimators);
  to.block_q = from.block_q;
  to.block_k = from.block_k;
  to.sink = from.sink;
  to.window = from.window;
  to.tau = from.tau;
  to.tau_per_head = values(from.tau_per_head, from.tau_per_head_count, "tau_per_head");
  to.shift_per_head = values(from.shift_per_head, from.shift_per_head_count, "shift_per_head");
  to.estimate_dim = from.estimate_dim;
  to.prune_queries = from.prune_queries != 0;
  to.channels = values(from.channels, from.channels_count, "channels");
  to.projection = values(from.projection, from.projection_count, "projection");
  to.kbar = values(from.kbar, from.kbar_count, "kbar");
  to.fp8_attend = from.fp8_attend != 0;
  to.second_filter = from.second_filter != 0;
  to.dense_below = from.dense_below;
  return to;
}

Serving to_cpp(const sale_serving &from) {
  require_zero(from.reserved);
  Serving to;
  to.ragged = from.ragged != 0;
  to.page_size = from.page_size;
  to.code_cache = from.code_cache != 0;
  to.parts = from.parts != 0;
  to.counted = from.counted != 0;
  return to;
}

Shape to_cpp(const sale_shape &from) {
  require_zero(from.reserved);
  return {from.batch, from.q_len, from.kv_len, from.total_q, from.total_kv};
}

Options to_cpp(const sale_options &from) {
  Options to;
  to.cuda_driver = text(from.cuda_driver);
  to.nvrtc = text(from.nvrtc);
  for (const std::string &pack : strings_to_cpp(from.cache_packs, from.cache_packs_count, "cache_packs")) {
    to.cache_packs.emplace_back(pack);
  }
  to.pack_key = text(from.pack_key);
  to.system_cache_dir = text(from.system_cache_dir);
  to.cache_dir = text(from.cache_dir);
  to.use_disk_cache = from.use_disk_cache != 0;
  to.cache_max_bytes = from.cache_max_bytes;
  to.cache_max_files = from.cache_max_files;
  to.frozen = from.frozen != 0;
  to.jobs = from.jobs;
  to.compile_seconds = from.compile_seconds;
  to.lock_seconds = from.lock_seconds;
  to.arch = text(from.arch);
  to.tuning = from.tuning == nullptr ? nullptr : from.tuning->record;
  to.tuning_gpu = text(from.tuning_gpu);
  if (from.cancelled != nullptr) {
    to.cancelled = [call = from.cancelled, user = from.user] { return call(user) != 0; };
  }
  if (from.progress != nullptr) {
    to.progress = [call = from.progress, user = from.user](const KernelInfo &info, int done, int total) {
      const sale_kernel_info kernel = to_c(info);
      call(&kernel, done, total, user);
    };
  }
  to.log_level = to_enum<LogLevel>(from.log_level, "log_level", log_levels);
  if (from.log != nullptr) {
    to.log = [call = from.log, user = from.user](LogLevel level, const std::string &words) {
      call(static_cast<std::int32_t>(level), words.c_str(), user);
    };
  }
  return to;
}

RunArgs to_cpp(const sale_run_args &from) {
  require_zero(from.reserved);
  RunArgs to;
  to.shape = {from.batch, from.q_len, from.kv_len, from.total_q, from.total_kv};
  to.expected_density = from.expected_density;
  to.q = to_cpp(from.q);
  to.k = to_cpp(from.k);
  to.v = to_cpp(from.v);
  to.out = to_cpp(from.out);
  to.lse = from.lse;
  to.workspace = from.workspace;
  to.workspace_bytes = from.workspace_bytes;
  to.tau = from.tau;
  to.shift = from.shift;
  to.kbar = from.kbar;
  to.channels = from.channels;
  to.projection = from.projection;
  to.sink_logits = from.sink_logits;
  to.mask_in = from.mask_in;
  to.mask_out = from.mask_out;
  to.cu_seqlens_q = from.cu_seqlens_q;
  to.cu_seqlens_kv = from.cu_seqlens_kv;
  to.q_lens = from.q_lens;
  to.kv_lens = from.kv_lens;
  to.kbar_shared = from.kbar_shared != 0;
  to.block_table = from.block_table;
  to.block_table_stride = from.block_table_stride;
  to.num_pages = from.num_pages;
  to.code_cache = from.code_cache;
  to.coded_lens = from.coded_lens;
  to.q_positions = from.q_positions;
  to.key_offsets = from.key_offsets;
  to.threshold_in = from.threshold_in;
  to.threshold_out = from.threshold_out;
  return to;
}

MergeArgs to_cpp(const sale_merge_args &from) {
  MergeArgs to;
  to.shape.batch = from.batch;
  to.shape.q_len = from.q_len;
  to.shape.total_q = from.total_q;
  to.out_a = to_cpp(from.out_a);
  to.out_b = to_cpp(from.out_b);
  to.out = to_cpp(from.out);
  to.lse_a = from.lse_a;
  to.lse_b = from.lse_b;
  to.lse = from.lse;
  return to;
}

TuningLayers to_cpp(const sale_tuning_layers &from) {
  TuningLayers to;
  to.shipped = from.shipped != 0;
  to.system_dir = text(from.system_dir);
  to.user_dir = text(from.user_dir);
  to.warning = warning(from.warning, from.user);
  return to;
}

BackgroundTuningOptions to_cpp(const sale_background_tuning_options &from) {
  require_zero(from.reserved);
  BackgroundTuningOptions to;
  to.needs = needs_to_cpp(from.needs, from.needs_count);
  to.lengths = values(from.lengths, from.lengths_count, "lengths");
  to.budget_seconds = from.budget_seconds;
  to.device = from.device;
  to.record = text(from.record);
  to.program = text(from.program);
  to.more_words = strings_to_cpp(from.more_words, from.more_words_count, "more_words");
  to.niceness = from.niceness;
  return to;
}

std::vector<Need> needs_to_cpp(const sale_need *needs, std::size_t count) {
  if (count != 0) {
    require(needs, "needs");
  }
  std::vector<Need> result;
  for (std::size_t i = 0; i < count; ++i) {
    require(needs[i].problem, "problem of a need");
    result.push_back({to_cpp(read(needs[i].problem)), to_cpp(read(needs[i].policy)), to_cpp(read(needs[i].serving))});
  }
  return result;
}

std::vector<std::string> strings_to_cpp(const char *const *strings, std::size_t count, const char *name) {
  if (count != 0) {
    require(static_cast<const void *>(strings), name);
  }
  std::vector<std::string> result;
  for (std::size_t i = 0; i < count; ++i) {
    require(strings[i], name);
    result.emplace_back(strings[i]);
  }
  return result;
}

sale_kernel_info to_c(const KernelInfo &info) {
  sale_kernel_info kernel{};
  kernel.struct_size = sizeof(kernel);
  kernel.name = info.name.c_str();
  kernel.arch = info.arch.c_str();
  kernel.key = info.key.c_str();
  kernel.from_cache = info.from_cache ? 1 : 0;
  kernel.registers = info.registers;
  kernel.spill_bytes = info.spill_bytes;
  kernel.shared_memory = info.shared_memory;
  kernel.binary_bytes = info.binary_bytes;
  kernel.milliseconds = info.milliseconds;
  return kernel;
}

sale_stage_times to_c(const StageTimes &times) {
  return {sizeof(sale_stage_times),
          times.sequences,
          times.mean,
          times.channels,
          times.quantize,
          times.amax,
          times.values,
          times.prepare,
          times.select,
          times.tails,
          times.attend,
          times.total};
}

sale_plan_counters to_c(const PlanCounters &counters) {
  return {sizeof(sale_plan_counters), counters.runs,           counters.given_masks, counters.fallbacks,
          counters.dense_runs,        counters.selects,        counters.merges,      counters.finished,
          counters.kept_blocks,       counters.visible_blocks, counters.milliseconds};
}

sale_cache_counters to_c(const CacheCounters &counters) {
  return {sizeof(sale_cache_counters), counters.memory_hits, counters.pack_hits,
          counters.system_hits,        counters.user_hits,   counters.misses,
          counters.compiles,           counters.published,   counters.repairs,
          counters.evictions,          counters.lock_waits,  counters.lock_timeouts,
          counters.disk_errors};
}

} // namespace sale::c_api
