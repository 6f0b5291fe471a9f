// SPDX-License-Identifier: Apache-2.0
// Where the keys and values of a paged batch lie: in pages [num_pages, num_kv_heads, page_size, head_dim] by the
// strides of the tensor, stride_batch being a page's. Also compiled into the host library, so plain types only.
#pragma once

struct PagedArg {
  const int *table; // [batch, table_stride]: the pages of each sequence; null = this tensor is not paged
  int table_stride;
  int page_size;
  int num_pages;
  int rows_per_box;     // coded_pages, wgmma select: keys of one copy of codes; divides page_size and the tile
  unsigned char *codes; // coded_pages: [num_pages, num_kv_heads, page_size, code_row_bytes]
  unsigned int *scales; // coded_pages: [num_pages, num_kv_heads, page_size / 32]
};
