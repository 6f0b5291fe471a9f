#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# build_by_hand.sh PREFIX shared|static PROGRAM SOURCE... [-- ARGUMENT...]: compiles a host as somebody without CMake
# would, in C++17 with hidden symbols, and runs it.
set -euo pipefail
prefix=$1 kind=$2 program=$3
shift 3
sources=()
while [[ $# -gt 0 && $1 != -- ]]; do
  sources+=("$1")
  shift
done
[[ $# == 0 ]] || shift

pkgconfig=$(find "$prefix" -type d -name pkgconfig)
libraries=$(dirname "$pkgconfig")
export PKG_CONFIG_PATH=$pkgconfig
case $kind in
  shared) read -ra flags < <(pkg-config --cflags --libs sale) ;;
  static) read -ra flags < <(pkg-config --static --cflags --libs sale-static) ;;
esac
includes=()
for source in "${sources[@]}"; do
  includes+=(-I "$(dirname "$source")" -I "$(dirname "$source")/..")
done
"$CXX" -std=c++17 -fvisibility=hidden -Wall -Wextra -Werror "${includes[@]}" "${sources[@]}" "${flags[@]}" -ldl -o "$program"

needs_libsale=$(objdump -p "$program" | grep -c 'NEEDED.*libsale' || true)
[[ $kind == shared && $needs_libsale == 1 || $kind == static && $needs_libsale == 0 ]] || {
  echo "$program is linked with $needs_libsale libsale.so, which is not what $kind means"
  exit 1
}
LD_LIBRARY_PATH=$libraries "$program" "$@"
