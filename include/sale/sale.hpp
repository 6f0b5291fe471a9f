// SPDX-License-Identifier: Apache-2.0
// libsale: SALE sparse attention for long-context prefill (arXiv 2505.24179) on the caller's own device pointers and
// stream.
//
//   sale::Engine engine;                                  // current context, or the primary one of device 0
//   sale::Plan plan = engine.prepare(problem, policy);    // generates, compiles or loads from the cache
//   plan.run(args, stream);                               // asynchronous: no allocation, no synchronisation
//
// Nothing here includes CUDA headers: streams are the driver's own handle type, device memory is void *.
#pragma once

#include "sale/error.hpp"
#include "sale/export.h"
#include "sale/types.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

struct CUstream_st;

namespace sale {

struct TuningRecord;

/// One 16-bit device tensor [batch, heads, tokens, head_dim]. head_dim is contiguous; the other strides are in
/// elements, any multiple of 8 (rows start on 16-byte boundaries); for sm_90a those of q, k and v are positive wherever
/// there is more than one to step over.
struct TensorView {
  void *data = nullptr;
  std::int64_t stride_batch = 0;
  std::int64_t stride_head = 0;
  std::int64_t stride_token = 0;
};

/// A view of a densely packed [batch, heads, tokens, head_dim] tensor.
SALE_API TensorView packed_view(void *data, int heads, int tokens, int head_dim);

/// Arguments of one call. Null pointers mean "absent". Everything is device memory. Packed tensors have no batch:
/// [heads, total, head_dim], and lse [num_q_heads, total_q].
struct RunArgs {
  Shape shape;
  TensorView q;         ///< [batch, num_q_heads, q_len, head_dim]
  TensorView k;         ///< [batch, num_kv_heads, kv_len, head_dim]
  TensorView v;         ///< [batch, num_kv_heads, kv_len, v_head_dim]
  TensorView out;       ///< [batch, num_q_heads, q_len, v_head_dim]; its rows overlap neither each other nor an input
  float *lse = nullptr; ///< [batch, num_q_heads, q_len] fp32, natural log, scale applied
  /// 256-byte aligned; contents need not be kept between calls. Calls that select nothing (mask_in, run_dense) need it
  /// of ragged and of counted Plans and with policy.fp8_attend only.
  void *workspace = nullptr;
  std::size_t workspace_bytes = 0; ///< at least Plan::workspace_bytes(shape)

  const float *tau = nullptr;   ///< [num_q_heads]; null = the Plan's policy
  const float *shift = nullptr; ///< [num_q_heads], nats; null = the Plan's policy

  // 16-byte aligned. A mask has mask_words(problem, policy, shape) words (docs/numerics.md, section 9).
  /// [batch, num_kv_heads, head_dim]; null = the Plan's policy, or the mean of this call's keys.
  const float *kbar = nullptr;
  /// fp8 with estimate_dim: [num_kv_heads, estimate_dim], ascending per head; null = the Plan's, or by energy.
  const std::int32_t *channels = nullptr;
  /// fp8 with a projection: [num_kv_heads, 2, estimate_dim, head_dim]; null = the Plan's.
  const float *projection = nullptr;
  /// [num_q_heads] in nats, below +infinity: one more logit in the softmax's sum, without a value. Required where
  /// Problem::sink_logits.
  const float *sink_logits = nullptr;
  const std::uint32_t *mask_in = nullptr; ///< use this mask and skip selection
  std::uint32_t *mask_out = nullptr;      ///< receives the mask
  /// Kept share of the visible blocks that the caller expects, in (0, 1]: chooses among tuned kernels, and so at most
  /// roundings. 0 = unknown.
  float expected_density = 0;

  // Of ragged Plans. In device memory, read when the kernels run: a captured graph may be replayed with other values.
  // Those that promise too much are cut to the shape.
  const std::int32_t *cu_seqlens_q = nullptr;  ///< [batch + 1] first rows; required where shape.total_q
  const std::int32_t *cu_seqlens_kv = nullptr; ///< [batch + 1]; required where shape.total_kv
  const std::int32_t *q_lens = nullptr;        ///< [batch]; null = from cu_seqlens_q, or shape.q_len
  const std::int32_t *kv_lens = nullptr;       ///< [batch]; null = from cu_seqlens_kv, or shape.kv_len
  bool kbar_shared = false;                    ///< kbar is [num_kv_heads, head_dim], one for all sequences

  // Of paged Plans: k and v are [num_pages, num_kv_heads, page_size, head_dim] by their strides.
  /// [batch, block_table_stride] numbers of pages, below num_pages; entries past a sequence's last key are not read.
  const std::int32_t *block_table = nullptr;
  int block_table_stride = 0; ///< at least ceil(shape.kv_len / page_size)
  int num_pages = 0;
  /// Required where serving.code_cache, and kbar with it: Plan::code_cache_bytes(num_pages), 256-byte aligned. Its
  /// codes are good for as long as kbar, channels and projection stay the same.
  void *code_cache = nullptr;
  const std::int32_t *coded_lens = nullptr; ///< [batch] keys whose codes are in it; null = kv_len - q_len

  // Of Plans with serving.parts.
  const std::int32_t *q_positions = nullptr; ///< [batch] position of row 0 among these keys; null = kv_len - q_len
  const std::int32_t *key_offsets = nullptr; ///< [batch] position of key 0 in the whole context; null = 0
  /// As lse: ln(tau * sum of exp) over the reference keys of a row. Given, they need not be found.
  const float *threshold_in = nullptr;
  float *threshold_out = nullptr; ///< as threshold_in
};

/// Two parts of one attention, over the same queries and different keys. Everything is device memory.
struct MergeArgs {
  Shape shape;      ///< batch and q_len; packed: total_q. kv_len is not looked at.
  TensorView out_a; ///< [batch, num_q_heads, q_len, head_dim], as all three
  TensorView out_b;
  TensorView out; ///< may be out_a or out_b; null data: only lse is merged, and the others are not looked at
  const float *lse_a = nullptr; ///< [batch, num_q_heads, q_len], as RunArgs::lse; or both RunArgs::threshold_out
  const float *lse_b = nullptr;
  float *lse = nullptr; ///< may be lse_a or lse_b
};

/// u32 words of a mask: batch * num_q_heads * q_blocks * W (docs/numerics.md, section 9).
SALE_API std::size_t mask_words(const Problem &problem, const Policy &policy, const Shape &shape);

/// A compiled kernel and where it came from.
struct KernelInfo {
  std::string name; ///< KernelSpec in one line
  std::string arch; ///< "sm_90a"
  std::string key;  ///< cache key, hexadecimal SHA-256
  bool from_cache = false;
  int registers = 0;     ///< per thread; 0 when PTX
  int spill_bytes = 0;   ///< stores + loads per thread
  int shared_memory = 0; ///< bytes per CTA, dynamic + static
  std::size_t binary_bytes = 0;
  double milliseconds = 0; ///< generate + compile, or cache read
};

/// What the calls of a Plan did since it was prepared, from whatever copy and thread.
struct PlanCounters {
  // Counted when they are enqueued: a call that is captured into a graph counts once, its replays do not.
  std::uint64_t runs = 0;        ///< Of run, with work.
  std::uint64_t given_masks = 0; ///< Of these, with mask_in.
  std::uint64_t fallbacks = 0;   ///< Of these, dense because kv_len is less than policy.dense_below.
  std::uint64_t dense_runs = 0;  ///< Of run_dense.
  std::uint64_t selects = 0;
  std::uint64_t merges = 0;

  // Counted on the device when run, run_dense and profile end, replays too; 0 unless Serving::counted.
  std::uint64_t finished = 0;
  std::uint64_t kept_blocks = 0;    ///< Of block_q x block_k, in all heads.
  std::uint64_t visible_blocks = 0; ///< kept_blocks / visible_blocks is the density.
  double milliseconds = 0;          ///< From the begin of each call's first kernel to the end of its last, summed.
};

/// Kernels of one Problem and Policy on one device, ready to run. Cheap to copy; safe to use from several threads. It
/// owns the kernels: a copy must live until what it enqueued is done, and as long as graphs that captured it are
/// replayed.
class SALE_API Plan {
public:
  /// Bytes of workspace that run needs for this shape.
  std::size_t workspace_bytes(const Shape &shape) const;

  /// Bytes of RunArgs::code_cache for so many pages; 0 without serving.code_cache.
  std::size_t code_cache_bytes(std::int64_t num_pages) const;

  /// Enqueues attention on `stream` of the Engine's context. Asynchronous; never allocates, compiles or synchronises.
  /// Does nothing when batch or q_len is 0. Throws Error(invalid_argument) for bad arguments before anything is
  /// enqueued, Error(launch) when the driver refuses a launch.
  void run(const RunArgs &args, CUstream_st *stream) const;

  /// As run with every visible block kept, whatever tau: the dense baseline from the same kernels' family.
  void run_dense(const RunArgs &args, CUstream_st *stream) const;

  /// The part of run that selects: mask_out, and threshold_out where it is given. Neither v nor out is looked at.
  void select(const RunArgs &args, CUstream_st *stream) const;

  /// The whole of two parts: out weighted by exp(lse), lse their log-sum. For plans with serving.parts.
  void merge(const MergeArgs &args, CUstream_st *stream) const;

  /// run with events around each stage; waits for the stream.
  StageTimes profile(const RunArgs &args, CUstream_st *stream) const;

  /// The same of select.
  StageTimes profile_select(const RunArgs &args, CUstream_st *stream) const;

  /// Asks nothing of the driver and waits for nothing: for a host's metrics, at any time and from any thread.
  PlanCounters counters() const;

  const Problem &problem() const;
  const Policy &policy() const;
  const Serving &serving() const;
  const std::vector<KernelInfo> &kernels() const;

private:
  friend class Engine;
  struct State;
  explicit Plan(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
};

/// How much is said; each level says what those before it do.
enum class LogLevel {
  from_environment, ///< SALE_LOG: off, warning, info or debug; unset: warning.
  off,
  warning, ///< What a host should hear of, such as a cache that cannot be written; never fatal.
  info,    ///< A few lines for each Engine and Plan: device, compiler, where kernels came from.
  debug    ///< Every kernel.
};

/// Where libraries and the cache are, and how much to say. The callbacks may come from any thread, but never two at
/// once for one Engine; they must not call into that Engine.
struct Options {
  std::filesystem::path cuda_driver; ///< libcuda.so.1; empty = the loader's path
  /// libnvrtc.so or its folder; empty = SALE_NVRTC, else the first of CUDA_HOME, CUDA_PATH, LD_LIBRARY_PATH,
  /// /usr/local/cuda, system folders, pip wheels and whatever else the loader knows.
  std::filesystem::path nvrtc;

  // The cache's layers (docs/cache.md), in the order in which they are asked.
  std::vector<std::filesystem::path> cache_packs; ///< of `sale cache pack`; empty = SALE_CACHE_PACKS, colons between
  std::filesystem::path pack_key;         ///< ed25519 public key (PEM) that signed them; empty = SALE_PACK_KEY, or none
  std::filesystem::path system_cache_dir; ///< never written; empty = SALE_SYSTEM_CACHE_DIR, else /var/cache/sale
  std::filesystem::path cache_dir;        ///< empty = SALE_CACHE_DIR, else XDG_CACHE_HOME/sale, else ~/.cache/sale
  bool use_disk_cache = true;             ///< false: none of the four
  std::uint64_t cache_max_bytes = std::uint64_t{1} << 30; ///< of cache_dir; least recently used go first; 0 = no limit
  std::uint64_t cache_max_files = 16384;                  ///< the same

  bool frozen = false;        ///< or SALE_FROZEN=1: nothing is compiled; a missing kernel is Error(not_cached)
  int jobs = 0;               ///< parallel compiles; 0 = one per core, fewer where memory is short
  double compile_seconds = 0; ///< for one kernel, then Error(compile); 0 = no deadline. Needs NVRTC 12.8 or newer.
  double lock_seconds = 60;   ///< to wait for another process that compiles the same kernel; 0 = not at all
  std::string arch;           ///< "sm_80"; empty = the device's own
  /// Tiles that were measured (load_tuning of sale/tuning.hpp); null, or nothing for the device in it: the default
  /// ones.
  std::shared_ptr<const TuningRecord> tuning;
  std::string tuning_gpu; ///< prewarm: compile only what this GPU, by name, can choose; empty = any in the record
  std::function<bool()> cancelled; ///< asked often; true ends prepare and prewarm with Error(cancelled)
  std::function<void(const KernelInfo &, int done, int total)> progress; ///< after each kernel
  LogLevel log_level = LogLevel::from_environment;
  std::function<void(LogLevel, const std::string &)> log; ///< a sentence of this level; empty = standard error
};

/// What became of the kernels that an Engine, or everybody who used one folder, asked for.
struct CacheCounters {
  std::uint64_t memory_hits = 0;
  std::uint64_t pack_hits = 0;
  std::uint64_t system_hits = 0;
  std::uint64_t user_hits = 0;
  std::uint64_t misses = 0;        ///< in no layer
  std::uint64_t compiles = 0;      ///< begun here; misses that another thread or process compiled are not among them
  std::uint64_t published = 0;     ///< written to cache_dir
  std::uint64_t repairs = 0;       ///< damaged files removed; each also is a miss
  std::uint64_t evictions = 0;     ///< files removed for the limits
  std::uint64_t lock_waits = 0;    ///< for another process that compiled the same kernel
  std::uint64_t lock_timeouts = 0; ///< of these, given up: compiled here too
  std::uint64_t disk_errors = 0;   ///< each a warning, or one warning for many
};

/// One device: its context, compiler and kernel cache.
class SALE_API Engine {
public:
  /// Uses the calling thread's current context if there is one, else the primary context of `device` (-1 = device 0).
  /// Throws Error(invalid_argument) when `device` names another GPU than the current context's.
  explicit Engine(int device = -1, Options options = {});

  /// Generates, compiles or loads every kernel that the problem needs. Blocks; call it outside the serving path.
  Plan prepare(const Problem &problem, const Policy &policy, const Serving &serving = {}) const;

  std::string device_name() const;
  std::string arch() const; ///< the architecture that kernels are compiled for, e.g. "sm_90a"

  /// Since this Engine was made.
  CacheCounters cache_counters() const;

private:
  struct State;
  std::shared_ptr<const State> state_;
};

/// What one Plan is prepared for.
struct Need {
  Problem problem;
  Policy policy;
  Serving serving;
};

/// Compiles every kernel of the needs for each architecture into the cache, each kernel once. Needs no GPU and no
/// driver. Name what an Engine there would take: sm_90a for an H100, not sm_90; compute_90 for PTX, which GPUs take
/// that are newer than libsale.
SALE_API std::vector<KernelInfo> prewarm(const std::vector<std::string> &archs, const std::vector<Need> &needs,
                                         const Options &options = {});

/// The same of one need.
SALE_API std::vector<KernelInfo> prewarm(const std::vector<std::string> &archs, const Problem &problem,
                                         const Policy &policy, const Options &options = {},
                                         const Serving &serving = {});

/// Those of the needs' kernels that no layer of the cache has. Looks, and compiles nothing; of these, name, arch and
/// key are known.
SALE_API std::vector<KernelInfo> missing(const std::vector<std::string> &archs, const std::vector<Need> &needs,
                                         const Options &options = {});

} // namespace sale
