// SPDX-License-Identifier: Apache-2.0
#include <core/parallel_for.hpp>
#include <sale/sale.hpp>

static_assert(application_header);
static_assert(__cplusplus == 201703L);
#if __has_include(<runtime/driver.hpp>)
#error "libsale's own headers are visible to an application"
#endif

sale::Plan make_plan() { return sale::Engine().prepare({}, {}); }
