// SPDX-License-Identifier: Apache-2.0
// The GNU build id of an ELF file, read without loading it (loading NVRTC takes longer than a whole cached prepare).
#pragma once

#include <filesystem>
#include <string>

namespace sale {

/// Hexadecimal; empty when the file has none, is no 64-bit little-endian ELF file, or cannot be read.
std::string read_build_id(const std::filesystem::path &file);

/// The same of the library that is loaded at this address (of its code or data); empty when it has none.
std::string loaded_build_id(const void *address);

} // namespace sale
