// SPDX-License-Identifier: Apache-2.0
// Structs that may grow: their defaults, what an older or newer caller gave, and what such a caller gets.
#pragma once

#include "sale/error.hpp"
#include "sale/sale.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <type_traits>

namespace sale::c_api {

/// Name and size in the first version of this API, below which no caller can be. Never changes.
template <class T>
struct StructInfo;
#define SALE_C_STRUCT(type, size)                                                                                      \
  template <>                                                                                                          \
  struct StructInfo<type> {                                                                                            \
    static constexpr const char *name = #type;                                                                         \
    static constexpr std::size_t first_size = size;                                                                    \
    static_assert((size) <= sizeof(type) && std::is_standard_layout_v<type> && offsetof(type, struct_size) == 0);      \
  }
SALE_C_STRUCT(sale_problem, 48);
SALE_C_STRUCT(sale_policy, 136);
SALE_C_STRUCT(sale_serving, 32);
SALE_C_STRUCT(sale_shape, 32);
SALE_C_STRUCT(sale_kernel_info, 64);
SALE_C_STRUCT(sale_options, 168);
SALE_C_STRUCT(sale_cache_counters, 104);
SALE_C_STRUCT(sale_run_args, 352);
SALE_C_STRUCT(sale_merge_args, 144);
SALE_C_STRUCT(sale_stage_times, 96);
SALE_C_STRUCT(sale_plan_counters, 88);
SALE_C_STRUCT(sale_tuning_layers, 48);
SALE_C_STRUCT(sale_background_tuning_options, 96);
#undef SALE_C_STRUCT

/// A struct with the defaults of the C++ API.
template <class T>
T defaults();

/// Throws Error(invalid_argument) where nobody has filled the struct in.
template <class T>
void require_size(const T &given) {
  if (given.struct_size < StructInfo<T>::first_size) {
    throw Error(ErrorKind::invalid_argument, std::string(StructInfo<T>::name) + " has struct_size " +
                                                 std::to_string(given.struct_size) +
                                                 ", less than it ever was; fill it with " + StructInfo<T>::name +
                                                 "_init or set struct_size to its "
                                                 "sizeof");
  }
}

/// What a caller gave, with defaults for the members that it does not know; all defaults for NULL. Throws
/// Error(invalid_argument) for members that this library does not know, unless they are 0.
template <class T>
T read(const T *given) {
  T value = defaults<T>();
  if (given == nullptr) {
    return value;
  }
  require_size(*given);
  const auto *bytes = reinterpret_cast<const unsigned char *>(given);
  const std::size_t known = std::min(given->struct_size, sizeof(T));
  if (std::any_of(bytes + known, bytes + given->struct_size, [](unsigned char byte) { return byte != 0; })) {
    throw Error(ErrorKind::invalid_argument, std::string(StructInfo<T>::name) +
                                                 " says something in members that libsale " + sale_version() +
                                                 " does not have; use the libsale that the caller was compiled for");
  }
  std::memcpy(&value, bytes, known);
  value.struct_size = sizeof(T);
  return value;
}

/// As much of `value` as the caller has room for; 0 in what this library does not know. Throws Error(invalid_argument)
/// where the caller has not said how much that is.
template <class T>
void write(T value, T *to) {
  require_size(*to);
  const std::size_t size = to->struct_size;
  std::memset(static_cast<void *>(to), 0, size);
  value.struct_size = size;
  std::memcpy(static_cast<void *>(to), &value, std::min(size, sizeof(T)));
}

} // namespace sale::c_api
