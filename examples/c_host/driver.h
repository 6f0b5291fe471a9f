/* SPDX-License-Identifier: Apache-2.0 */
/* What an inference engine has anyway: a GPU and its memory. The CUDA driver is opened at run time, so that this builds
 * without a CUDA toolkit. Every failure prints a sentence and ends the program. */
#ifndef DRIVER_H
#define DRIVER_H

#include <stddef.h>

/* Makes the first GPU's primary context current. `library`: libcuda.so.1, or libsale_emulator.so where there is no GPU.
 */
void driver_open(const char *library);
void *driver_allocate(size_t bytes);
void driver_upload(void *to, const void *from, size_t bytes);
void driver_download(void *to, const void *from, size_t bytes); /* waits for the device */

#endif
