// SPDX-License-Identifier: Apache-2.0
// Every failure of libsale is one object: what was being done, where, why, and what to do about it.
#pragma once

#include "sale/export.h"

#include <stdexcept>
#include <string>

namespace sale {

/// What kind of thing failed.
enum class ErrorKind {
  invalid_argument, ///< The caller asked for something impossible or unsupported.
  not_found,        ///< A library, file or device that is needed is not there.
  generate,         ///< Writing kernel source.
  compile,          ///< NVRTC refused the source.
  load,             ///< The driver refused the binary.
  launch,           ///< The driver refused a launch, or a kernel failed.
  io,               ///< Reading or writing a file.
  cache,            ///< A cache entry or pack. Inside prepare never fatal, but for a pack that Options name.
  not_cached,       ///< Options::frozen, and a kernel is in no layer of the cache.
  capturing,        ///< The call would compile, load or wait while a stream is captured into a graph.
  cancelled         ///< Options::cancelled said so.
};

struct ErrorDetails {
  std::string where = {};   ///< The operation or API call that failed, e.g. "cuModuleLoadData".
  std::string log = {};     ///< Compiler or driver log, verbatim.
  std::string options = {}; ///< Compile options, space separated.
  std::string spec = {};    ///< The kernel concerned, as text.
  std::string advice = {};  ///< What would make it work.
};

class SALE_API Error : public std::runtime_error {
public:
  /// `what` is one sentence without a trailing full stop; advice, if any, is appended after "; ".
  Error(ErrorKind kind, const std::string &what, ErrorDetails details = {});

  ErrorKind kind() const noexcept { return kind_; }
  const ErrorDetails &details() const noexcept { return details_; }

private:
  ErrorKind kind_;
  ErrorDetails details_;
};

SALE_API const char *to_string(ErrorKind kind);

} // namespace sale
