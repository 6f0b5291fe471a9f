// SPDX-License-Identifier: Apache-2.0
// Safetensors files (https://huggingface.co/docs/safetensors): an 8-byte length, a JSON header, then raw tensors.
// Files are untrusted: every violation is an Error(io) of one sentence that names the file and the tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sale::io {

struct TensorEntry {
  std::string name;
  std::string dtype; ///< "BF16", "F16", "F32", "U8", ...
  std::vector<std::uint64_t> shape;
  std::uint64_t offset = 0; ///< from the start of the file
  std::uint64_t bytes = 0;
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors; ///< ascending by offset
  std::map<std::string, std::string> metadata;
};

/// Bytes of the JSON header, from the first bytes of a file of `file_size` bytes.
std::uint64_t safetensors_header_length(std::span<const std::byte> start, std::uint64_t file_size,
                                        const std::string &file_name);

/// Parses and checks a whole header. `start` holds at least the length and the JSON.
SafetensorsHeader parse_safetensors(std::span<const std::byte> start, std::uint64_t file_size,
                                    const std::string &file_name);

/// A file whose header has been checked; tensors are read when asked for.
class SafetensorsReader {
public:
  explicit SafetensorsReader(const std::filesystem::path &path);

  const SafetensorsHeader &header() const { return header_; }
  const std::string &file_name() const { return file_name_; }

  /// Throws Error(io) that lists the file's tensors when there is none of that name.
  const TensorEntry &find(std::string_view name) const;

  /// Reads the tensor into `to`, which has exactly its size.
  void read(const TensorEntry &tensor, std::span<std::byte> to);

private:
  std::string file_name_;
  std::ifstream file_;
  SafetensorsHeader header_;
};

struct TensorToWrite {
  std::string name;
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::span<const std::byte> data;
};

void write_safetensors(const std::filesystem::path &path, const std::vector<TensorToWrite> &tensors,
                       const std::map<std::string, std::string> &metadata = {});

/// "[1, 32, 8192, 128]".
std::string shape_text(std::span<const std::uint64_t> shape);

} // namespace sale::io
