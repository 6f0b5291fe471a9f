/* SPDX-License-Identifier: Apache-2.0 */
/* libsale for C, and for whatever calls C: sparse attention for long-context prefill (arXiv 2505.24179) on the caller's
 * own device pointers and stream. What each thing means is said in sale/types.hpp and sale/sale.hpp, under the same
 * names.
 *
 *   sale_engine *engine;
 *   sale_plan *plan;
 *   sale_problem problem;
 *   sale_problem_init(&problem, sizeof problem);
 *   if (sale_engine_create(-1, NULL, &engine) || sale_engine_prepare(engine, &problem, NULL, NULL, &plan))
 *     puts(sale_last_error());
 *   ...
 *   sale_plan_run(plan, &args, stream);
 *
 * - Every function that can fail returns a sale_status and leaves a sentence in sale_last_error(). Outputs are written
 * on success only.
 * - Every struct begins with struct_size and is filled with its defaults by sale_..._init(&s, sizeof s). Later versions
 * add members at the end; a caller that was compiled before them gets their defaults.
 * - Where a pointer to a struct is optional, NULL means its defaults. What a call is given is copied before it returns.
 * - Handles are released with their own function, in any order; a plan needs no engine to live. NULL may be released.
 * - A plan owns its kernels: release it when what it enqueued is done, and graphs that captured it are of no more use.
 * - Everything but releasing is safe from several threads, unless said otherwise.
 * Needs no CUDA headers: streams are CUstream (cudaStream_t), device memory is void *. */
#ifndef SALE_SALE_H
#define SALE_SALE_H

#include "sale/export.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st;

/* Grows with every addition to this header; nothing is ever taken away or changed while the first number of the soname
 * stays. */
#define SALE_C_API_VERSION 1
SALE_API int sale_c_api_version(void);   /* of the library that is loaded */
SALE_API const char *sale_version(void); /* "0.1.0" */

/* -- Errors ------------------------------------------------------------------------------------------------------- */

typedef int32_t sale_status;
enum {
  SALE_OK = 0,
  SALE_INVALID_ARGUMENT = 1, /* the caller asked for something impossible or unsupported */
  SALE_NOT_FOUND = 2,        /* a library, file or device that is needed is not there */
  SALE_GENERATE = 3,         /* writing kernel source */
  SALE_COMPILE = 4,          /* NVRTC refused the source */
  SALE_LOAD = 5,             /* the driver refused the binary */
  SALE_LAUNCH = 6,           /* the driver refused a launch, or a kernel failed */
  SALE_IO = 7,               /* reading or writing a file */
  SALE_CACHE = 8,            /* a cache entry or pack */
  SALE_NOT_CACHED = 9,       /* frozen, and a kernel is in no layer of the cache */
  SALE_CAPTURING = 10,       /* the call would compile, load or wait while a stream is captured into a graph */
  SALE_CANCELLED = 11,       /* sale_options.cancelled said so */
  SALE_OUT_OF_MEMORY = 12,   /* of the host */
  SALE_INTERNAL = 13         /* none of these: a defect of libsale */
};

SALE_API const char *sale_status_name(sale_status status); /* "invalid_argument" */
/* What the latest failed call of this thread said; "" before any. Good until this thread's next failed call. */
SALE_API const char *sale_last_error(void);
/* The compiler's or driver's log of it, verbatim; "" where there is none. */
SALE_API const char *sale_last_error_log(void);

/* -- What a model fixes, how sparse it runs, one call's sizes ------------------------------------------------------ */

enum { SALE_BF16 = 0, SALE_F16 = 1 }; /* dtype */
enum {
  SALE_ESTIMATOR_EXACT = 0,
  SALE_ESTIMATOR_INT8 = 1,
  SALE_ESTIMATOR_INT4 = 2,
  SALE_ESTIMATOR_FP8 = 3
}; /* estimator */

typedef struct sale_problem {
  size_t struct_size;
  int32_t dtype;          /* SALE_BF16 */
  int32_t head_dim;       /* 128 */
  int32_t v_head_dim;     /* 0 = head_dim */
  int32_t num_q_heads;    /* 32 */
  int32_t num_kv_heads;   /* 8; divides num_q_heads */
  int32_t causal;         /* 1 */
  float softmax_scale;    /* 0 = 1 / sqrt(head_dim) */
  int32_t sliding_window; /* 0 = all keys */
  float softcap;          /* 0 = none */
  int32_t sink_logits;    /* 0; calls bring sale_run_args.sink_logits */
} sale_problem;

typedef struct sale_policy {
  size_t struct_size;
  int32_t estimator; /* SALE_ESTIMATOR_INT8 */
  int32_t block_q;   /* 64 */
  int32_t block_k;   /* 32 */
  int32_t sink;      /* 32 */
  int32_t window;    /* 128 */
  float tau;         /* 0.004 */
  /* Arrays in host memory: NULL with a count of 0, or as many as said. */
  const float *tau_per_head; /* [num_q_heads] */
  size_t tau_per_head_count;
  const float *shift_per_head; /* [num_q_heads], nats */
  size_t shift_per_head_count;
  int32_t estimate_dim; /* 0 = head_dim */
  int32_t prune_queries;
  const int32_t *channels; /* [num_kv_heads, estimate_dim] */
  size_t channels_count;
  const float *projection; /* [num_kv_heads, 2, estimate_dim, head_dim] */
  size_t projection_count;
  const float *kbar; /* [num_kv_heads, head_dim] */
  size_t kbar_count;
  int32_t fp8_attend;
  int32_t second_filter;
  int32_t dense_below; /* calls with kv_len below this run dense */
  int32_t reserved;    /* 0 */
} sale_policy;

typedef struct sale_serving {
  size_t struct_size;
  int32_t ragged;
  int32_t page_size;
  int32_t code_cache;
  int32_t parts;
  int32_t counted;
  int32_t reserved; /* 0 */
} sale_serving;

typedef struct sale_shape {
  size_t struct_size;
  int32_t batch; /* 1 */
  int32_t q_len;
  int32_t kv_len;
  int32_t total_q;
  int32_t total_kv;
  int32_t reserved; /* 0 */
} sale_shape;

SALE_API void sale_problem_init(sale_problem *problem, size_t struct_size);
SALE_API void sale_policy_init(sale_policy *policy, size_t struct_size);
SALE_API void sale_serving_init(sale_serving *serving, size_t struct_size);
SALE_API void sale_shape_init(sale_shape *shape, size_t struct_size);

/* Whether libsale can do it, on some GPU; the sentence says what it can. */
SALE_API sale_status sale_validate(const sale_problem *problem, const sale_policy *policy, const sale_serving *serving);

/* -- Options ------------------------------------------------------------------------------------------------------ */

typedef struct sale_tuning sale_tuning; /* tiles that were measured */

typedef struct sale_kernel_info {
  size_t struct_size;
  const char *name;
  const char *arch;
  const char *key;
  int32_t from_cache;
  int32_t registers;
  int32_t spill_bytes;
  int32_t shared_memory;
  uint64_t binary_bytes;
  double milliseconds;
} sale_kernel_info;

/* How much is said; each level says what those before it do. */
enum {
  SALE_LOG_FROM_ENVIRONMENT = 0, /* SALE_LOG: off, warning, info or debug; unset: warning */
  SALE_LOG_OFF = 1,
  SALE_LOG_WARNING = 2,
  SALE_LOG_INFO = 3,
  SALE_LOG_DEBUG = 4
}; /* log_level */

typedef struct sale_options {
  size_t struct_size;
  /* Paths; NULL = as the library finds them (sale/sale.hpp). */
  const char *cuda_driver;
  const char *nvrtc;
  const char *const *cache_packs;
  size_t cache_packs_count;
  const char *pack_key;
  const char *system_cache_dir;
  const char *cache_dir;
  int32_t use_disk_cache; /* 1 */
  int32_t log_level;      /* SALE_LOG_FROM_ENVIRONMENT */
  uint64_t cache_max_bytes;
  uint64_t cache_max_files;
  int32_t frozen;
  int32_t jobs;
  double compile_seconds;
  double lock_seconds;
  const char *arch;
  const sale_tuning *tuning; /* kept for as long as it is needed */
  const char *tuning_gpu;
  /* From any thread, never two at once for one engine; they must not call into that engine. */
  int (*cancelled)(void *user);
  void (*progress)(const sale_kernel_info *kernel, int done, int total, void *user); /* kernel: during the call */
  void (*log)(int32_t level, const char *text, void *user);                          /* NULL = standard error */
  void *user;
} sale_options;

SALE_API void sale_options_init(sale_options *options, size_t struct_size);

/* -- Engine: one device ------------------------------------------------------------------------------------------- */

typedef struct sale_engine sale_engine;
typedef struct sale_plan sale_plan;

typedef struct sale_cache_counters {
  size_t struct_size;
  uint64_t memory_hits;
  uint64_t pack_hits;
  uint64_t system_hits;
  uint64_t user_hits;
  uint64_t misses;
  uint64_t compiles;
  uint64_t published;
  uint64_t repairs;
  uint64_t evictions;
  uint64_t lock_waits;
  uint64_t lock_timeouts;
  uint64_t disk_errors;
} sale_cache_counters;

/* The calling thread's current context if there is one, else the primary context of `device` (-1 = device 0). */
SALE_API sale_status sale_engine_create(int device, const sale_options *options, sale_engine **engine);
SALE_API void sale_engine_release(sale_engine *engine);
/* Compiles or loads every kernel. Blocks; call it outside the serving path. */
SALE_API sale_status sale_engine_prepare(const sale_engine *engine, const sale_problem *problem,
                                         const sale_policy *policy, const sale_serving *serving, sale_plan **plan);
SALE_API const char *sale_engine_device_name(const sale_engine *engine); /* good as long as the engine */
SALE_API const char *sale_engine_arch(const sale_engine *engine);
SALE_API sale_status sale_engine_cache_counters(const sale_engine *engine, sale_cache_counters *counters);

/* -- Plan: kernels of one problem and policy, ready to run ----------------------------------------------------------
 */

/* [batch, heads, tokens, head_dim] in device memory; strides in elements, head_dim contiguous. */
typedef struct sale_tensor {
  void *data;
  int64_t stride_batch;
  int64_t stride_head;
  int64_t stride_token;
} sale_tensor;

/* Of a densely packed tensor. */
SALE_API sale_tensor sale_packed_tensor(void *data, int heads, int tokens, int head_dim);

/* All device memory; NULL means absent (sale/sale.hpp, RunArgs). */
typedef struct sale_run_args {
  size_t struct_size;
  /* As sale_shape. */
  int32_t batch; /* 1 */
  int32_t q_len;
  int32_t kv_len;
  int32_t total_q;
  int32_t total_kv;
  float expected_density; /* 0 = unknown */
  sale_tensor q;
  sale_tensor k;
  sale_tensor v;
  sale_tensor out;
  float *lse;
  void *workspace; /* 256-byte aligned */
  size_t workspace_bytes;
  const float *tau;
  const float *shift;
  const float *kbar;
  const int32_t *channels;
  const float *projection;
  const float *sink_logits;
  const uint32_t *mask_in;
  uint32_t *mask_out;
  const int32_t *cu_seqlens_q;
  const int32_t *cu_seqlens_kv;
  const int32_t *q_lens;
  const int32_t *kv_lens;
  const int32_t *block_table;
  int32_t block_table_stride;
  int32_t num_pages;
  void *code_cache;
  const int32_t *coded_lens;
  const int32_t *q_positions;
  const int32_t *key_offsets;
  const float *threshold_in;
  float *threshold_out;
  int32_t kbar_shared;
  int32_t reserved; /* 0 */
} sale_run_args;

typedef struct sale_merge_args {
  size_t struct_size;
  int32_t batch; /* 1 */
  int32_t q_len;
  int32_t total_q;
  sale_tensor out_a;
  sale_tensor out_b;
  sale_tensor out;
  const float *lse_a;
  const float *lse_b;
  float *lse;
} sale_merge_args;

/* Milliseconds; 0 for stages that did not run. */
typedef struct sale_stage_times {
  size_t struct_size;
  double sequences;
  double mean;
  double channels;
  double quantize;
  double amax;
  double values;
  double prepare;
  double select;
  double tails;
  double attend;
  double total;
} sale_stage_times;

/* What the calls of a plan did since it was prepared (sale/sale.hpp, PlanCounters). */
typedef struct sale_plan_counters {
  size_t struct_size;
  /* As they are enqueued. */
  uint64_t runs;
  uint64_t given_masks;
  uint64_t fallbacks;
  uint64_t dense_runs;
  uint64_t selects;
  uint64_t merges;
  /* On the device; 0 unless sale_serving.counted. */
  uint64_t finished;
  uint64_t kept_blocks;
  uint64_t visible_blocks;
  double milliseconds;
} sale_plan_counters;

SALE_API void sale_run_args_init(sale_run_args *args, size_t struct_size);
SALE_API void sale_merge_args_init(sale_merge_args *args, size_t struct_size);

SALE_API sale_status sale_plan_retain(const sale_plan *plan, sale_plan **copy);
SALE_API void sale_plan_release(sale_plan *plan);
SALE_API sale_status sale_plan_workspace_bytes(const sale_plan *plan, const sale_shape *shape, size_t *bytes);
SALE_API sale_status sale_plan_code_cache_bytes(const sale_plan *plan, int64_t num_pages, size_t *bytes);
/* u32 words of a mask of this shape. */
SALE_API sale_status sale_plan_mask_words(const sale_plan *plan, const sale_shape *shape, size_t *words);

/* Asynchronous on `stream`: no allocation on the device, no compilation, no synchronisation. Arguments that are refused
 * are refused before anything is enqueued. */
SALE_API sale_status sale_plan_run(const sale_plan *plan, const sale_run_args *args, struct CUstream_st *stream);
SALE_API sale_status sale_plan_run_dense(const sale_plan *plan, const sale_run_args *args, struct CUstream_st *stream);
SALE_API sale_status sale_plan_select(const sale_plan *plan, const sale_run_args *args, struct CUstream_st *stream);
SALE_API sale_status sale_plan_merge(const sale_plan *plan, const sale_merge_args *args, struct CUstream_st *stream);
/* With events around each stage; these wait for the stream. */
SALE_API sale_status sale_plan_profile(const sale_plan *plan, const sale_run_args *args, struct CUstream_st *stream,
                                       sale_stage_times *times);
SALE_API sale_status sale_plan_profile_select(const sale_plan *plan, const sale_run_args *args,
                                              struct CUstream_st *stream, sale_stage_times *times);

/* Asks nothing of the driver and waits for nothing. */
SALE_API sale_status sale_plan_get_counters(const sale_plan *plan, sale_plan_counters *counters);

SALE_API size_t sale_plan_kernel_count(const sale_plan *plan);
/* Its texts are good as long as the plan. */
SALE_API sale_status sale_plan_kernel(const sale_plan *plan, size_t index, sale_kernel_info *kernel);

/* -- Caches made without a GPU --------------------------------------------------------------------------------------
 */

typedef struct sale_need {
  const sale_problem *problem;
  const sale_policy *policy;   /* NULL = defaults */
  const sale_serving *serving; /* NULL = defaults */
} sale_need;

typedef struct sale_kernel_list sale_kernel_list;

/* Compiles every kernel of the needs for each architecture into the cache. `kernels` may be NULL. */
SALE_API sale_status sale_prewarm(const char *const *archs, size_t archs_count, const sale_need *needs,
                                  size_t needs_count, const sale_options *options, sale_kernel_list **kernels);
/* Those that no layer of the cache has. Compiles nothing. */
SALE_API sale_status sale_missing(const char *const *archs, size_t archs_count, const sale_need *needs,
                                  size_t needs_count, const sale_options *options, sale_kernel_list **kernels);
SALE_API size_t sale_kernel_list_count(const sale_kernel_list *kernels);
/* Its texts are good as long as the list. */
SALE_API sale_status sale_kernel_list_get(const sale_kernel_list *kernels, size_t index, sale_kernel_info *kernel);
SALE_API void sale_kernel_list_release(sale_kernel_list *kernels);

/* -- Tuning (docs/tuning.md) ----------------------------------------------------------------------------------------
 */

typedef struct sale_tuning_layers {
  size_t struct_size;
  int32_t shipped; /* 1 */
  const char *system_dir;
  const char *user_dir;
  void (*warning)(const char *text, void *user); /* NULL = standard error */
  void *user;
} sale_tuning_layers;

SALE_API void sale_tuning_layers_init(sale_tuning_layers *layers, size_t struct_size);
SALE_API sale_status sale_tuning_load(const char *file, sale_tuning **tuning);
/* The records that nobody names; NULL in `tuning` where there is none. */
SALE_API sale_status sale_tuning_load_layers(const sale_tuning_layers *layers, sale_tuning **tuning);
SALE_API void sale_tuning_release(sale_tuning *tuning);

/* A plan that can be replaced between runs. */
typedef struct sale_swappable_plan sale_swappable_plan;
SALE_API sale_status sale_swappable_plan_create(int device, const sale_options *options, const sale_problem *problem,
                                                const sale_policy *policy, const sale_serving *serving,
                                                sale_swappable_plan **plan);
SALE_API sale_status sale_swappable_plan_current(const sale_swappable_plan *plan, sale_plan **current);
SALE_API sale_status sale_swappable_plan_use(sale_swappable_plan *plan,
                                             const sale_tuning *tuning); /* NULL = default tiles */
SALE_API void sale_swappable_plan_release(sale_swappable_plan *plan);

typedef struct sale_background_tuning_options {
  size_t struct_size;
  const sale_need *needs;
  size_t needs_count;
  const int32_t *lengths; /* powers of two; NULL = those of `sale tune` */
  size_t lengths_count;
  double budget_seconds; /* 300 */
  int32_t device;
  const char *record;  /* required */
  const char *program; /* NULL = SALE_PROGRAM, else sale on PATH */
  const char *const *more_words;
  size_t more_words_count;
  int32_t niceness; /* 10 */
  int32_t reserved; /* 0 */
} sale_background_tuning_options;

enum { SALE_TUNING_RUNNING = 0, SALE_TUNING_DONE = 1, SALE_TUNING_FAILED = 2, SALE_TUNING_STOPPED = 3 };

/* Not for several threads at once. */
typedef struct sale_background_tuning sale_background_tuning;
SALE_API void sale_background_tuning_options_init(sale_background_tuning_options *options, size_t struct_size);
SALE_API sale_status sale_background_tuning_start(const sale_background_tuning_options *options,
                                                  sale_background_tuning **tuning);
SALE_API sale_status sale_background_tuning_state(sale_background_tuning *tuning, int32_t *state);
/* Of SALE_TUNING_FAILED; good until the next call with this handle. */
SALE_API const char *sale_background_tuning_error(const sale_background_tuning *tuning);
/* What has been measured so far; NULL in `record` before anything was. */
SALE_API sale_status sale_background_tuning_record(const sale_background_tuning *tuning, sale_tuning **record);
SALE_API sale_status sale_background_tuning_stop(sale_background_tuning *tuning);
SALE_API void sale_background_tuning_release(sale_background_tuning *tuning);

#ifdef __cplusplus
}
#endif

#endif
