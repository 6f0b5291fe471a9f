// SPDX-License-Identifier: Apache-2.0
// How the copy engine finds a tensor: what cuTensorMapEncodeTiled writes. Also compiled into the host library.
#pragma once

struct alignas(64) TensorMap {
  unsigned char opaque[128];
};
