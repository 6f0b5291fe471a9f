#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# build_c_host.sh PREFIX FOLDER ARGUMENTS...: builds examples/c_host with its own Makefile against the libsale installed in
# PREFIX, in FOLDER, and runs it with the arguments.
set -euo pipefail
prefix=$1
folder=$2
shift 2
pkgconfig=$(dirname "$(find "$prefix" -name sale.pc)")
libraries=$(dirname "$(find "$prefix" -name libsale.so)")

rm -rf "$folder"
cp -r "$(dirname "${BASH_SOURCE[0]}")/../../examples/c_host" "$folder"
PKG_CONFIG_PATH=$pkgconfig make -C "$folder"
LD_LIBRARY_PATH=$libraries "$folder/c_host" "$@"
