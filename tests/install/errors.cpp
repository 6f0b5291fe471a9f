// SPDX-License-Identifier: Apache-2.0
// An exception that the library throws is of the host's own sale::Error, and any other std::exception handler's too.
#include <sale/sale.hpp>
#include <sale/version.hpp>

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

namespace {

int failures = 0;

void expect(bool holds, const char *what) {
  if (!holds) {
    std::fprintf(stderr, "not so: %s\n", what);
    ++failures;
  }
}

} // namespace

int main() {
  sale::Problem problem;
  problem.head_dim = 7;
  bool caught = false;
  try {
    sale::validate(problem);
  } catch (const sale::Error &error) {
    caught = true;
    expect(error.kind() == sale::ErrorKind::invalid_argument, "the kind is invalid_argument");
    expect(std::string(error.what()).find("head_dim") != std::string::npos, "the sentence names head_dim");
  }
  expect(caught, "sale::Error is caught as sale::Error");
  caught = false;
  try {
    sale::Options options;
    options.cuda_driver = "/nowhere/libcuda.so.1";
    const sale::Engine engine(0, options);
  } catch (const std::runtime_error &error) {
    caught = dynamic_cast<const sale::Error *>(&error) != nullptr;
  }
  expect(caught, "sale::Error is caught as std::runtime_error, and is a sale::Error still");
  expect(sale::abi_version() == SALE_ABI_VERSION, "the library's ABI is that of its headers");
  expect(std::string(sale::version()).find('.') != std::string::npos, "the version has a point");
  return failures == 0 ? 0 : 1;
}
