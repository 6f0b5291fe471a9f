// SPDX-License-Identifier: Apache-2.0
#include "cache/key.hpp"

#include <gtest/gtest.h>

#include <set>

namespace sale {
namespace {

const KeyFields sample{"source", "--std=c++17", "sm_90", BinaryKind::cubin};

TEST(Sha256, GivesThePublishedDigestOfAbc) {
  Sha256 hash;
  hash.update("a", 1);
  hash.update("bc", 2);
  EXPECT_EQ(to_hex(hash.finish()), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(KernelKey, IsSixtyFourHexadecimalDigitsAndRepeats) {
  const std::string key = kernel_key(sample);
  EXPECT_EQ(key.size(), 64U);
  EXPECT_EQ(key.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_EQ(key, kernel_key(sample));
}

TEST(KernelKey, NeverChangesBetweenReleasesOfOneSchema) {
  EXPECT_EQ(kernel_key(sample), "12d278d0858a80d840f55e5f66fcd9b895bf3d7c990f34663e8e2c3505d98ec5");
}

TEST(KernelKey, DependsOnEveryField) {
  const std::set<std::string> keys = {kernel_key(sample),
                                      kernel_key({"other", "--std=c++17", "sm_90", BinaryKind::cubin}),
                                      kernel_key({"source", "--std=c++20", "sm_90", BinaryKind::cubin}),
                                      kernel_key({"source", "--std=c++17", "sm_80", BinaryKind::cubin}),
                                      kernel_key({"source", "--std=c++17", "sm_90", BinaryKind::ptx})};
  EXPECT_EQ(keys.size(), 5U);
}

TEST(KernelKey, DoesNotConfuseFieldsThatConcatenateAlike) {
  EXPECT_NE(kernel_key({"ab", "c", "sm_90", BinaryKind::cubin}), kernel_key({"a", "bc", "sm_90", BinaryKind::cubin}));
  EXPECT_NE(kernel_key({"a", "", "sm_90", BinaryKind::cubin}), kernel_key({"", "a", "sm_90", BinaryKind::cubin}));
}

TEST(LabelledHash, TellsALabelFromItsValue) {
  LabelledHash a;
  a.add("x", "yz");
  LabelledHash b;
  b.add("xy", "z");
  EXPECT_NE(to_hex(a.finish()), to_hex(b.finish()));
}

} // namespace
} // namespace sale
