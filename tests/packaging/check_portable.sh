#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check_portable.sh BINARY GLIBC: fails if BINARY links to anything but glibc or needs a glibc symbol newer than GLIBC.
set -euo pipefail
binary=$1
limit=$2
status=0

mapfile -t libraries < <(objdump -p "$binary" | awk '$1 == "NEEDED" { print $2 }')
[[ ${#libraries[@]} -gt 0 ]] || {
  echo "$binary names no shared library at all: is it the binary that was meant?"
  exit 1
}
for library in "${libraries[@]}"; do
  case $library in
    libc.so.6 | libm.so.6 | ld-linux-x86-64.so.2) ;;
    *)
      echo "$binary needs $library, which other machines may not have"
      status=1
      ;;
  esac
done

while read -r version; do
  if [[ $(printf '%s\n%s\n' "$version" "$limit" | sort -V | tail -n 1) != "$limit" ]]; then
    echo "$binary needs GLIBC_$version, newer than $limit:"
    objdump -T "$binary" | grep -F "GLIBC_$version)"
    status=1
  fi
done < <(objdump -T "$binary" | grep -oE 'GLIBC_[0-9.]+' | sed 's/GLIBC_//' | sort -Vu)
exit $status
