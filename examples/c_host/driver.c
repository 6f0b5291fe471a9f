/* SPDX-License-Identifier: Apache-2.0 */
#include "driver.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long address;

static int (*allocate)(address *, size_t);
static int (*to_device)(address, const void *, size_t);
static int (*to_host)(void *, address, size_t);

static void check(int result, const char *what) {
  if (result != 0) {
    fprintf(stderr, "%s failed with CUDA error %d\n", what, result);
    exit(1);
  }
}

/* A function pointer by way of memcpy: ISO C has no conversion from void *. */
static void find(void *library, const char *name, void *function, size_t size) {
  void *symbol = dlsym(library, name);
  if (symbol == NULL) {
    fprintf(stderr, "the driver has no %s\n", name);
    exit(1);
  }
  memcpy(function, &symbol, size);
}
#define FIND(function, name) find(library, name, &(function), sizeof(function))

void driver_open(const char *path) {
  int (*init)(unsigned) = NULL;
  int (*retain_context)(void **, int) = NULL;
  int (*push_context)(void *) = NULL;
  void *context = NULL;
  void *library = dlopen(path, RTLD_NOW);
  if (library == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    exit(1);
  }
  FIND(init, "cuInit");
  FIND(retain_context, "cuDevicePrimaryCtxRetain");
  FIND(push_context, "cuCtxPushCurrent_v2");
  FIND(allocate, "cuMemAlloc_v2");
  FIND(to_device, "cuMemcpyHtoD_v2");
  FIND(to_host, "cuMemcpyDtoH_v2");
  check(init(0), "cuInit");
  check(retain_context(&context, 0), "cuDevicePrimaryCtxRetain");
  check(push_context(context), "cuCtxPushCurrent");
}

void *driver_allocate(size_t bytes) {
  address memory = 0;
  check(allocate(&memory, bytes), "cuMemAlloc");
  return (void *)(uintptr_t)memory;
}

void driver_upload(void *to, const void *from, size_t bytes) {
  check(to_device((address)(uintptr_t)to, from, bytes), "cuMemcpyHtoD");
}

void driver_download(void *to, const void *from, size_t bytes) {
  check(to_host(to, (address)(uintptr_t)from, bytes), "cuMemcpyDtoH");
}
