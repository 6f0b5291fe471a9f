// SPDX-License-Identifier: Apache-2.0
// Runs asm statements on the emulator over many values.
#pragma once

#include "emulator/jit/program.hpp"
#include "emulator/ptx/instruction.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sale::emulator {

/// A buffer of device memory.
template <class T>
class Buffer {
public:
  explicit Buffer(std::size_t count);
  ~Buffer();
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;
  T *data() const { return data_; }
  T &operator[](std::size_t i) const { return data_[i]; }

private:
  T *data_;
};

/// Runs a kernel of the source with these parameters (their addresses); the report's text, empty when all went well.
std::string run(const std::string &source, const std::string &kernel, std::vector<void *> params, u32 threads = 32,
                u32 blocks = 1, u32 shared_bytes = 0);

/// One asm statement: operands by constraint letters, the result's first ("rff": a u32 of two floats); c may be left
/// out. `expected` gives the result's bits of the operands' bits.
struct Operation {
  std::string text;
  std::string constraints;
  std::function<u64(u64 a, u64 b, u64 c)> expected;
};

/// Compiles all into one program, runs each over special and random values, and compares every bit.
void check_operations(const std::vector<Operation> &operations);

float as_float(u64 bits);
double as_double(u64 bits);
u64 bits_of(float x); ///< A NaN as 0x7fffffff.

} // namespace sale::emulator
