// SPDX-License-Identifier: Apache-2.0
#include "cache/signature.hpp"

#include "cache/shared_file.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <array>
#include <utility>

namespace sale {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t signature_bytes = 64;
constexpr std::size_t max_pem_bytes = std::size_t{64} << 10;

// A library must not ask for a passphrase on somebody's terminal.
int no_passphrase(char *, int, int, void *) { return -1; }

using ReadKey = EVP_PKEY *(*)(BIO *, EVP_PKEY **, pem_password_cb *, void *);

std::shared_ptr<void> load_key(const fs::path &pem, Keeper keeper, ReadKey read, const std::string &wanted,
                               const std::string &advice) {
  const std::vector<unsigned char> text = SharedFile::open(pem, keeper).read_all(max_pem_bytes);
  const std::unique_ptr<BIO, int (*)(BIO *)> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  std::shared_ptr<void> key;
  if (bio) {
    key = std::shared_ptr<void>(read(bio.get(), nullptr, no_passphrase, nullptr),
                                [](void *value) { EVP_PKEY_free(static_cast<EVP_PKEY *>(value)); });
  }
  // What went wrong in here must not look like an error of the caller's own use of OpenSSL.
  ERR_clear_error();
  if (!key || EVP_PKEY_id(static_cast<EVP_PKEY *>(key.get())) != EVP_PKEY_ED25519) {
    throw Error(ErrorKind::cache, fmt::format("{} holds no {}", pem.string(), wanted), {.advice = advice});
  }
  return key;
}

using Context = std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX *)>;

} // namespace

fs::path signature_path(const fs::path &file) { return fs::path(file) += ".sig"; }

SigningKey SigningKey::load(const fs::path &pem) {
  return SigningKey(load_key(pem, Keeper::anybody, PEM_read_bio_PrivateKey,
                             "ed25519 private key in PEM without a passphrase",
                             "openssl genpkey -algorithm ed25519 makes one"));
}

void SigningKey::sign_file(const fs::path &file) const {
  const std::vector<unsigned char> message = SharedFile::open(file, Keeper::anybody).read_all(max_signed_bytes);
  std::array<unsigned char, signature_bytes> signature{};
  std::size_t bytes = signature.size();
  const Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  const bool done =
      context &&
      EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, static_cast<EVP_PKEY *>(key_.get())) == 1 &&
      EVP_DigestSign(context.get(), signature.data(), &bytes, message.data(), message.size()) == 1 &&
      bytes == signature.size();
  ERR_clear_error();
  if (!done) {
    throw Error(ErrorKind::cache, fmt::format("{} could not be signed", file.string()), {.where = "EVP_DigestSign"});
  }
  NewSharedFile out(signature_path(file));
  out.write(signature);
  out.commit();
}

PublicKey PublicKey::load(const fs::path &pem) {
  return PublicKey(load_key(pem, Keeper::me_or_root, PEM_read_bio_PUBKEY, "ed25519 public key in PEM",
                            "openssl pkey -in PRIVATE.pem -pubout makes it from the private one"));
}

bool PublicKey::verifies(std::span<const unsigned char> message, std::span<const unsigned char> signature) const {
  const Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  const bool good =
      context && signature.size() == signature_bytes &&
      EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, static_cast<EVP_PKEY *>(key_.get())) == 1 &&
      EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
  ERR_clear_error();
  return good;
}

} // namespace sale
