#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check_abi_refusal.sh INCLUDE MAP LIBRARY: links a program with a libsale of another ABI, then starts it with LIBRARY: the
# loader must refuse it before it runs, and name the ABI.
set -euo pipefail
include=$1 map=$2 library=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/other"
sed 's/SALE_ABI_[0-9]*/SALE_ABI_9999/' "$map" >"$work/map"
echo '#include <sale/version.hpp>
int sale::abi_version() noexcept { return 9999; }' >"$work/other.cpp"
echo '#include <sale/version.hpp>
int main() { return sale::abi_version() == 9999 ? 0 : 1; }' >"$work/host.cpp"
"$CXX" -std=c++17 -I "$include" -shared -fPIC "$work/other.cpp" -Wl,--version-script="$work/map" \
  -Wl,-soname,libsale.so.0 -o "$work/other/libsale.so.0"
"$CXX" -std=c++17 -I "$include" "$work/host.cpp" "$work/other/libsale.so.0" -o "$work/host"

LD_LIBRARY_PATH=$work/other "$work/host" || {
  echo "the program does not even run with the library that it was linked with"
  exit 1
}
if output=$(LD_LIBRARY_PATH=$(dirname "$library") "$work/host" 2>&1); then
  echo "a program of ABI 9999 runs with $library"
  exit 1
fi
grep -q "version \`SALE_ABI_9999' not found" <<<"$output" || {
  echo "the refusal does not name the ABI: $output"
  exit 1
}
