// SPDX-License-Identifier: Apache-2.0
#include "cache/sha256.hpp"

#include "sale/error.hpp"

#include <openssl/evp.h>

namespace sale {

namespace {

template <class Pointer>
EVP_MD_CTX *evp(const Pointer &context) {
  return static_cast<EVP_MD_CTX *>(context.get());
}

void check(int ok, const char *call) {
  if (ok != 1) {
    throw Error(ErrorKind::cache, "libcrypto could not compute a SHA-256", {.where = call});
  }
}

} // namespace

void Sha256::Free::operator()(void *context) const { EVP_MD_CTX_free(static_cast<EVP_MD_CTX *>(context)); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  check(context_ != nullptr ? EVP_DigestInit_ex(evp(context_), EVP_sha256(), nullptr) : 0, "EVP_DigestInit_ex");
}

void Sha256::update(const void *data, std::size_t bytes) {
  check(EVP_DigestUpdate(evp(context_), data, bytes), "EVP_DigestUpdate");
}

Digest Sha256::finish() {
  Digest digest{};
  check(EVP_DigestFinal_ex(evp(context_), digest.data(), nullptr), "EVP_DigestFinal_ex");
  return digest;
}

std::string to_hex(const Digest &digest) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * digest.size());
  for (const unsigned char byte : digest) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

} // namespace sale
