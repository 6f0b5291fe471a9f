/* SPDX-License-Identifier: Apache-2.0 */
/* Prefill of one layer from C: sparse attention, compared with dense attention.
 *
 *   c_host [DRIVER [ARCH]]
 *
 * DRIVER: libcuda.so.1 (default), or libsale_emulator.so where there is no GPU. ARCH: whose kernels, e.g. sm_80;
 * default the device's own. */
#include "driver.h"

#include <sale/sale.h>

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 512, Q_HEADS = 4, KV_HEADS = 2, HEAD_DIM = 64, OUT_ELEMENTS = Q_HEADS * TOKENS * HEAD_DIM };

static void check(sale_status status) {
  if (status != SALE_OK) {
    fprintf(stderr, "%s: %s\n", sale_status_name(status), sale_last_error());
    exit(1);
  }
}

static float from_bf16(uint16_t bits) {
  const uint32_t wide = (uint32_t)bits << 16;
  float value = 0;
  memcpy(&value, &wide, sizeof value);
  return value;
}

static uint16_t to_bf16(float value) {
  uint32_t bits = 0;
  memcpy(&bits, &value, sizeof bits);
  return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/* [heads, TOKENS, HEAD_DIM] on the device: rows that resemble their neighbours, so that some blocks matter and others
 * do not. */
static void *make_tensor(int heads, unsigned seed) {
  const size_t count = (size_t)heads * TOKENS * HEAD_DIM;
  uint16_t *values = malloc(count * sizeof *values);
  float center[HEAD_DIM] = {0};
  void *tensor = driver_allocate(count * sizeof *values);
  if (values == NULL) {
    exit(1);
  }
  for (size_t i = 0; i < count; ++i) {
    seed = seed * 1664525U + 1013904223U;
    const float noise = (float)(seed >> 8) / (float)(1 << 24) - 0.5F;
    center[i % HEAD_DIM] = 0.98F * center[i % HEAD_DIM] + 0.6F * noise;
    values[i] = to_bf16(2 * center[i % HEAD_DIM]);
  }
  driver_upload(tensor, values, count * sizeof *values);
  free(values);
  return tensor;
}

/* sum |a - b| / sum |b| */
static double relative_difference(const void *a, const void *b) {
  static uint16_t of_a[OUT_ELEMENTS];
  static uint16_t of_b[OUT_ELEMENTS];
  double difference = 0;
  double size = 0;
  driver_download(of_a, a, sizeof of_a);
  driver_download(of_b, b, sizeof of_b);
  for (int i = 0; i < OUT_ELEMENTS; ++i) {
    difference += fabs((double)from_bf16(of_a[i]) - (double)from_bf16(of_b[i]));
    size += fabs((double)from_bf16(of_b[i]));
  }
  return difference / size;
}

int main(int argc, char **argv) {
  const char *driver = argc > 1 ? argv[1] : "libcuda.so.1";
  sale_engine *engine = NULL;
  sale_plan *plan = NULL;
  sale_options options;
  sale_problem problem;
  sale_policy policy;
  sale_shape shape;
  sale_run_args args;

  driver_open(driver);
  sale_options_init(&options, sizeof options);
  options.cuda_driver = driver;
  options.arch = argc > 2 ? argv[2] : NULL;
  check(sale_engine_create(-1, &options, &engine)); /* the current context */

  sale_problem_init(&problem, sizeof problem);
  problem.num_q_heads = Q_HEADS;
  problem.num_kv_heads = KV_HEADS;
  problem.head_dim = HEAD_DIM;
  sale_policy_init(&policy, sizeof policy);
  policy.tau = 0.01F;
  check(sale_engine_prepare(engine, &problem, &policy, NULL, &plan)); /* compiles, or loads from the cache */

  sale_shape_init(&shape, sizeof shape);
  shape.q_len = shape.kv_len = TOKENS;
  sale_run_args_init(&args, sizeof args);
  args.q_len = args.kv_len = TOKENS;
  args.q = sale_packed_tensor(make_tensor(Q_HEADS, 1), Q_HEADS, TOKENS, HEAD_DIM);
  args.k = sale_packed_tensor(make_tensor(KV_HEADS, 2), KV_HEADS, TOKENS, HEAD_DIM);
  args.v = sale_packed_tensor(make_tensor(KV_HEADS, 3), KV_HEADS, TOKENS, HEAD_DIM);
  args.out = sale_packed_tensor(driver_allocate(OUT_ELEMENTS * sizeof(uint16_t)), Q_HEADS, TOKENS, HEAD_DIM);
  check(sale_plan_workspace_bytes(plan, &shape, &args.workspace_bytes));
  args.workspace = driver_allocate(args.workspace_bytes);
  check(sale_plan_run(plan, &args, NULL)); /* on the default stream */

  void *sparse = args.out.data;
  args.out.data = driver_allocate(OUT_ELEMENTS * sizeof(uint16_t));
  check(sale_plan_run_dense(plan, &args, NULL));

  const double difference = relative_difference(sparse, args.out.data);
  printf("libsale %s on %s, kernels for %s: sparse and dense differ by %.4f\n", sale_version(),
         sale_engine_device_name(engine), sale_engine_arch(engine), difference);
  sale_plan_release(plan);
  sale_engine_release(engine);
  return difference < 0.1 ? 0 : 1; /* a NaN fails, too */
}
