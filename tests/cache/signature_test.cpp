// SPDX-License-Identifier: Apache-2.0
#include "cache/pack.hpp"
#include "cache/signature.hpp"
#include "sale/error.hpp"
#include "tests/cache/sample_entry.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace sale {
namespace {

namespace fs = std::filesystem;

using Bytes = std::vector<unsigned char>;

// The third example of RFC 8032, section 7.1, so nobody's secret: its keys as OpenSSL writes them, its message and
// signature.
constexpr const char *private_pem = "-----BEGIN PRIVATE KEY-----\n"
                                    "MC4CAQAwBQYDK2VwBCIEIMWqjfQ/n4N77bdELzHct7Fm04U1B28JS4XOOi4LRFj3\n"
                                    "-----END PRIVATE KEY-----\n";
constexpr const char *public_pem = "-----BEGIN PUBLIC KEY-----\n"
                                   "MCowBQYDK2VwAyEA/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU=\n"
                                   "-----END PUBLIC KEY-----\n";
const std::string rfc_message = "\xaf\x82";
constexpr const char *rfc_signature = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
                                      "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";

// The public key of the RFC's first example.
constexpr const char *other_public_pem = "-----BEGIN PUBLIC KEY-----\n"
                                         "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
                                         "-----END PUBLIC KEY-----\n";
// Of another algorithm, x25519.
constexpr const char *other_kind_pem = "-----BEGIN PRIVATE KEY-----\n"
                                       "MC4CAQAwBQYDK2VuBCIEIDA0VNEbWkfbwiXFbD7nfPD866Pgth4iExqSZ7HZAMRL\n"
                                       "-----END PRIVATE KEY-----\n";
constexpr const char *encrypted_pem = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
                                      "MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAj6QhldUFJeqwICCAAw\n"
                                      "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEDDilds0mKVTITJGBGCyCbQEQHYQ\n"
                                      "GAM2QJ5ZK0WSKLerTeC2dXmaFTGH056x0Uj0BPan6+Y50FCk5IUi+eOTX8ixI5N3\n"
                                      "9MtUVe/yFJl6XbjKTTE=\n"
                                      "-----END ENCRYPTED PRIVATE KEY-----\n";

Bytes bytes_of(const std::string &text) { return {text.begin(), text.end()}; }

Bytes contents(const fs::path &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string hex(const Bytes &bytes) {
  std::string text;
  for (const unsigned char byte : bytes) {
    constexpr const char *digits = "0123456789abcdef";
    text += digits[byte / 16];
    text += digits[byte % 16];
  }
  return text;
}

std::string refusal(const std::function<void()> &action) {
  try {
    action();
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::cache);
    return error.what();
  }
  return {};
}

class SignatureTest : public testing::Test {
protected:
  fs::path file(const std::string &name, const std::string &text) const {
    const fs::path path = folder_.path() / name;
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
    return path;
  }

  fs::path signed_pack() const {
    const fs::path path = folder_.path() / "kernels.pack";
    write_pack(path, std::vector{sample_entry()}, {"1", "2"});
    SigningKey::load(file("private.pem", private_pem)).sign_file(path);
    return path;
  }

  fs::path public_key() const { return file("public.pem", public_pem); }

private:
  TemporaryFolder folder_;
};

TEST_F(SignatureTest, IsWhatTheStandardSays) {
  const fs::path message = file("message", rfc_message);
  SigningKey::load(file("private.pem", private_pem)).sign_file(message);
  EXPECT_EQ(hex(contents(signature_path(message))), rfc_signature);
  EXPECT_TRUE(PublicKey::load(public_key()).verifies(bytes_of(rfc_message), contents(signature_path(message))));
}

TEST_F(SignatureTest, IsOfOneMessageByOneKey) {
  const fs::path message = file("message", rfc_message);
  SigningKey::load(file("private.pem", private_pem)).sign_file(message);
  const Bytes signature = contents(signature_path(message));
  const PublicKey key = PublicKey::load(public_key());
  EXPECT_FALSE(key.verifies(bytes_of("\xaf\x83"), signature));
  EXPECT_FALSE(key.verifies({}, signature));
  EXPECT_FALSE(PublicKey::load(file("other.pem", other_public_pem)).verifies(bytes_of(rfc_message), signature));
  for (std::size_t i = 0; i < signature.size(); ++i) {
    Bytes changed = signature;
    changed[i] ^= 1;
    EXPECT_FALSE(key.verifies(bytes_of(rfc_message), changed)) << i;
  }
  for (std::size_t length = 0; length < signature.size(); ++length) {
    EXPECT_FALSE(key.verifies(bytes_of(rfc_message), std::span(signature).first(length))) << length;
  }
}

TEST_F(SignatureTest, IsMadeAndCheckedWithEd25519KeysOnly) {
  const auto load_private = [&](const char *text) { return refusal([&] { SigningKey::load(file("key.pem", text)); }); };
  const auto load_public = [&](const char *text) { return refusal([&] { PublicKey::load(file("key.pem", text)); }); };
  const std::string name = (public_key().parent_path() / "key.pem").string();
  EXPECT_EQ(load_private(public_pem), name + " holds no ed25519 private key in PEM without a passphrase; openssl "
                                             "genpkey -algorithm ed25519 makes one");
  EXPECT_NE(load_private(other_kind_pem), "");
  EXPECT_NE(load_private(encrypted_pem), "");
  EXPECT_NE(load_private(""), "");
  EXPECT_EQ(load_public(private_pem), name +
                                          " holds no ed25519 public key in PEM; openssl pkey -in PRIVATE.pem -pubout "
                                          "makes it from the private one");
  EXPECT_NE(load_public("nonsense"), "");
  EXPECT_NE(refusal([&] { PublicKey::load(file("key.pem", std::string(100000, 'x'))); }), "");
}

TEST_F(SignatureTest, IsNotCheckedByAKeyThatOthersMayReplace) {
  const fs::path key = public_key();
  fs::permissions(key, fs::perms::others_write, fs::perm_options::add);
  EXPECT_NE(refusal([&] { PublicKey::load(key); }).find("others may write into it"), std::string::npos);
}

TEST_F(SignatureTest, LetsThePackOpen) {
  const fs::path pack = signed_pack();
  EXPECT_TRUE(Pack::open(pack, public_key()).lookup(sample_entry().key, std::nullopt));
}

TEST_F(SignatureTest, IsRequiredOfAPackWhereThereIsAKey) {
  const fs::path pack = signed_pack();
  const fs::path signature = signature_path(pack);
  const fs::path other = file("other.pem", other_public_pem);
  EXPECT_EQ(refusal([&] { Pack::open(pack, other); }), pack.string() + " cannot be used: " + signature.string() +
                                                           " is not its signature by the key " + other.string());
  fs::remove(signature);
  EXPECT_EQ(refusal([&] { Pack::open(pack, public_key()); }),
            signature.string() + " cannot be used: No such file or directory");
  EXPECT_NE(refusal([&] { Pack::open(pack, "none.pem"); }), "");
  EXPECT_NO_THROW(Pack::open(pack));
}

TEST_F(SignatureTest, RefusesAPackWithAnyBitChanged) {
  const fs::path pack = signed_pack();
  const fs::path key = public_key();
  const Bytes bytes = contents(pack);
  std::fstream out(pack, std::ios::binary | std::ios::in | std::ios::out);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto at = static_cast<std::streamoff>(i);
    out.seekp(at).put(static_cast<char>(bytes[i] ^ 1 << (i % 8))).flush();
    ASSERT_NE(refusal([&] { Pack::open(pack, key); }), "") << i;
    out.seekp(at).put(static_cast<char>(bytes[i])).flush();
  }
  EXPECT_NO_THROW(Pack::open(pack, key));
}

} // namespace
} // namespace sale
