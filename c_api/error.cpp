// SPDX-License-Identifier: Apache-2.0
#include "c_api/error.hpp"

#include <array>
#include <utility>

namespace sale::c_api {

namespace {

struct LastError {
  std::string text;
  std::string log;
  const char *fixed = nullptr; ///< Instead of `text`, where there was no memory for one.
};

LastError &last_error() {
  thread_local LastError last;
  return last;
}

constexpr std::array<const char *, 14> names = {
    "ok",    "invalid_argument", "not_found", "generate",  "compile",       "load",    "launch", "io",
    "cache", "not_cached",       "capturing", "cancelled", "out_of_memory", "internal"};

sale_status status_of(ErrorKind kind) {
  switch (kind) {
  case ErrorKind::invalid_argument: return SALE_INVALID_ARGUMENT;
  case ErrorKind::not_found: return SALE_NOT_FOUND;
  case ErrorKind::generate: return SALE_GENERATE;
  case ErrorKind::compile: return SALE_COMPILE;
  case ErrorKind::load: return SALE_LOAD;
  case ErrorKind::launch: return SALE_LAUNCH;
  case ErrorKind::io: return SALE_IO;
  case ErrorKind::cache: return SALE_CACHE;
  case ErrorKind::not_cached: return SALE_NOT_CACHED;
  case ErrorKind::capturing: return SALE_CAPTURING;
  case ErrorKind::cancelled: return SALE_CANCELLED;
  }
  return SALE_INTERNAL;
}

sale_status note(sale_status status, const char *text, const char *log) noexcept {
  LastError &last = last_error();
  try {
    std::string new_text = text;
    std::string new_log = log;
    last.text = std::move(new_text);
    last.log = std::move(new_log);
    last.fixed = nullptr;
  } catch (const std::bad_alloc &) {
    last.log.clear();
    last.fixed = "there is no memory to say what failed";
  }
  return status;
}

} // namespace

sale_status note_exception() noexcept {
  try {
    throw;
  } catch (const Error &error) {
    return note(status_of(error.kind()), error.what(), error.details().log.c_str());
  } catch (const std::bad_alloc &) {
    return note(SALE_OUT_OF_MEMORY, "the host's memory does not suffice", "");
  } catch (const std::exception &error) {
    return note(SALE_INTERNAL, error.what(), "");
  } catch (...) {
    return note(SALE_INTERNAL, "an exception of unknown type", "");
  }
}

void require(const void *pointer, const char *name) {
  if (pointer == nullptr) {
    throw Error(ErrorKind::invalid_argument, std::string(name) + " is NULL");
  }
}

} // namespace sale::c_api

using sale::c_api::last_error;

const char *sale_status_name(sale_status status) {
  const auto index = static_cast<std::size_t>(status);
  return status >= 0 && index < sale::c_api::names.size() ? sale::c_api::names[index] : "unknown";
}

const char *sale_last_error(void) { // NOLINT(modernize-redundant-void-arg): as C declares it
  const auto &last = last_error();
  return last.fixed != nullptr ? last.fixed : last.text.c_str();
}

const char *sale_last_error_log(void) { return last_error().log.c_str(); } // NOLINT(modernize-redundant-void-arg)
