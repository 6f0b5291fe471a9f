/* SPDX-License-Identifier: Apache-2.0
 * What libsale_emulator.so exports beside the CUDA driver's own functions. Plain C; safe to call from any thread. */
#ifndef SALE_EMULATOR_H
#define SALE_EMULATOR_H

#ifdef __cplusplus
extern "C" {
#endif

/* Its presence tells sale::Engine that the devices of this driver take CUDA source instead of cubins. */
int saleEmulatorVersion(void);

/* Of every launch from now on. Seed 0 (the default): always the same order; else threads and asynchronous operations
 * run in a random order that depends on the seed alone. */
void saleEmulatorSetSeed(unsigned long long seed);

/* OS threads per launch from now on; 0 (the default) = one per core. */
void saleEmulatorSetWorkers(int workers);

/* What the last failed call of this thread found wrong, in several lines; empty when none failed. Valid until the
 * thread's next failed call. */
const char *saleEmulatorReport(void);

/* Warp instructions executed so far whose opcode starts with this ("mma"). */
unsigned long long saleEmulatorCount(const char *opcode);

/* A table of everything executed so far: instructions by opcode, shared memory bank conflicts by source line. Valid
 * until the thread's next call. */
const char *saleEmulatorStatistics(void);

#ifdef __cplusplus
}
#endif

#endif
