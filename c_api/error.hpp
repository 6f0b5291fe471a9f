// SPDX-License-Identifier: Apache-2.0
// What a C function does about exceptions: a status, and a sentence that the thread can ask for.
#pragma once

#include "sale/error.hpp"
#include "sale/sale.h"

#include <exception>
#include <new>
#include <string>

namespace sale::c_api {

/// Keeps the exception's text as the thread's last error. To be called while it is handled.
sale_status note_exception() noexcept;

/// `work`'s exceptions as a status.
template <class Work>
sale_status guarded(const Work &work) noexcept {
  try {
    work();
    return SALE_OK;
  } catch (...) {
    return note_exception();
  }
}

/// Throws Error(invalid_argument) that names the argument.
void require(const void *pointer, const char *name);

} // namespace sale::c_api
