// SPDX-License-Identifier: Apache-2.0
// A case of the conformance suite: a kernel around one primitive, its input, and how its output is compared.
#pragma once

#include "tests/conformance/random.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace sale::conformance {

/// What the output's words hold. NaNs of floats are made one before anything is compared: PTX defines no payload.
enum class Values { bits, f32, f16_pairs, bf16_pairs };

/// |value - golden| <= absolute + relative * |golden|. Both 0: bit for bit.
struct Tolerance {
  double absolute = 0;
  double relative = 0;

  bool exact() const { return absolute == 0 && relative == 0; }
};

/// A tensor that the copy engine reads or writes: cuTensorMapEncodeTiled's arguments, innermost dimension first.
struct TensorMapSpec {
  bool over_output = false; ///< Else it lies at the input's byte `offset`.
  std::size_t offset = 0;
  int element_bytes = 2; ///< 1 = u8, 2 = u16, 4 = u32.
  std::vector<u64> sizes;
  std::vector<u64> strides_bytes; ///< Of dimension 1 and up.
  std::vector<u32> box;
  int swizzle_bytes = 0; ///< 0, 32, 64 or 128.
};

struct Case {
  std::string family; ///< The golden file's name.
  std::string name;
  /// CUDA source with a kernel `conformance(const u32 *in, u32 *out)`, with a TensorMap as third parameter if `map`.
  std::string source;
  std::array<unsigned, 3> grid = {1, 1, 1};
  unsigned threads = 32;
  unsigned shared_bytes = 0;
  std::vector<u32> input;
  std::size_t output_words = 0; ///< Zero before the launch.
  std::optional<TensorMapSpec> map;
  Values values = Values::bits;
  Tolerance tolerance;
  /// What plain host code gives, bit for bit; empty = no such code. It guards the suite against its own mistakes.
  std::vector<u32> expected;

  std::string full_name() const { return family + "." + name; }
};

/// The text of the named templates, e.g. "device/mma.cuh", and of what they include, then `body`.
std::string kernel_source(const std::vector<std::string> &templates, const std::string &body);

/// A case of one CTA with 16 KiB of shared memory and 4096 random words of input. `body` sees in, out, t (the thread)
/// and s (the address of shared memory).
Case shared_memory_case(const std::string &family, const std::string &name, std::vector<std::string> templates,
                        unsigned threads, std::size_t output_words, const std::string &body);

/// Every case of every family, in the order of their golden files.
const std::vector<Case> &all_cases();

/// Tensor copies that an H100 ended with CUDA_ERROR_ILLEGAL_INSTRUCTION, after which a process can use its GPU no more:
/// of no golden file, for the emulator, which must refuse them too.
std::vector<Case> refused_cases();

/// cases/<family>.cpp
std::vector<Case> arithmetic_cases();
std::vector<Case> element_cases();
std::vector<Case> memory_cases();
std::vector<Case> cp_async_cases();
std::vector<Case> matrix_load_cases();
std::vector<Case> mma_cases();
std::vector<Case> warp_cases();
std::vector<Case> barrier_cases();
std::vector<Case> mbarrier_cases();
std::vector<Case> bulk_copy_cases();
std::vector<Case> tensor_copy_cases();
std::vector<Case> wgmma_cases();

} // namespace sale::conformance
