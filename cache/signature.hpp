// SPDX-License-Identifier: Apache-2.0
// Detached ed25519 signatures by OpenSSL: 64 raw bytes, as `openssl pkeyutl -sign -rawin` writes and `-verify -rawin`
// checks. Keys are PEM files as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` make them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

namespace sale {

/// Where the signature of a file is: its name with ".sig" after it.
std::filesystem::path signature_path(const std::filesystem::path &file);

/// Ed25519 takes the whole message at once, so what is signed is held in memory.
inline constexpr std::size_t max_signed_bytes = std::size_t{1} << 30;

class SigningKey {
public:
  /// Throws Error(cache) when the file holds no ed25519 private key, or one behind a passphrase.
  static SigningKey load(const std::filesystem::path &pem);

  /// Writes signature_path(file). Throws Error(cache) or Error(io).
  void sign_file(const std::filesystem::path &file) const;

private:
  explicit SigningKey(std::shared_ptr<void> key) : key_(std::move(key)) {}
  std::shared_ptr<void> key_;
};

class PublicKey {
public:
  /// Throws Error(cache) when the file holds no ed25519 public key, or others could have written it.
  static PublicKey load(const std::filesystem::path &pem);

  bool verifies(std::span<const unsigned char> message, std::span<const unsigned char> signature) const;

private:
  explicit PublicKey(std::shared_ptr<void> key) : key_(std::move(key)) {}
  std::shared_ptr<void> key_;
};

} // namespace sale
