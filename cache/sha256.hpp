// SPDX-License-Identifier: Apache-2.0
// SHA-256 of byte strings fed piece by piece (OpenSSL's libcrypto does the work).
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>

namespace sale {

using Digest = std::array<unsigned char, 32>;

class Sha256 {
public:
  Sha256();
  void update(const void *data, std::size_t bytes);
  /// Ends the hash; the object is not used again.
  Digest finish();

private:
  struct Free {
    void operator()(void *context) const;
  };
  std::unique_ptr<void, Free> context_;
};

/// Lower-case hexadecimal.
std::string to_hex(const Digest &digest);

} // namespace sale
