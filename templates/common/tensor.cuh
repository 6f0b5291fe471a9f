// SPDX-License-Identifier: Apache-2.0
// One 16-bit tensor [batch, head, token, head_dim]: head_dim contiguous, other strides in elements, 16-byte aligned
// rows.
#pragma once

struct TensorArg {
  void *data;
  long long stride_batch;
  long long stride_head;
  long long stride_token;
};
