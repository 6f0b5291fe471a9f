#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check_shared_library.sh LIBRARY: what hosts may rely on of libsale.so.
set -euo pipefail
library=$1
status=0

bad() {
  echo "$library $*"
  status=1
}

# Only functions and classes of the namespace sale, with the C++ ABI's version, and sale_*, with the C interface's.
mapfile -t exports < <(nm --dynamic --defined-only --format=posix "$library" | awk '$2 != "A" { print $1 }')
[[ ${#exports[@]} -gt 40 ]] || bad "exports ${#exports[@]} symbols only: is it the library that was meant?"
for symbol in "${exports[@]}"; do
  [[ $symbol =~ ^(_ZN4sale|_ZNK4sale|_ZT[ISV]N4sale).*@@SALE_ABI_[0-9]+$ || $symbol =~ ^sale_[a-z0-9_]+@@SALE_C$ ]] ||
    bad "exports $symbol"
done
for name in _ZN4sale6EngineC1 _ZNK4sale4Plan3run _ZTIN4sale5ErrorE; do
  [[ " ${exports[*]}" == *" $name"* ]] || bad "does not export $name"
done
mapfile -t declared < <(grep -oE '\bsale_[a-z0-9_]+\(' "$(dirname "$0")/../../include/sale/sale.h" | tr -d '(' | sort -u)
[[ ${#declared[@]} -gt 40 ]] || bad "is compared with ${#declared[@]} functions only: is sale.h what it was?"
for name in "${declared[@]}"; do
  [[ " ${exports[*]} " == *" $name@@SALE_C "* ]] || bad "does not export $name, which sale.h declares"
done

# The compiler's own frame_dummy is one entry of 8 bytes.
bytes_of_constructors=$(readelf --wide --section-headers "$library" | sed -nE 's/.* \.init_array +INIT_ARRAY +[0-9a-f]+ [0-9a-f]+ ([0-9a-f]+) .*/\1/p')
constructors=$((16#${bytes_of_constructors:-0} / 8))
[[ $constructors -le 1 ]] || bad "has $constructors constructors, not frame_dummy alone"

stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT
strip -o "$stripped" "$library"
bytes=$(stat --format=%s "$stripped")
[[ $bytes -le 5000000 ]] || bad "has $bytes bytes without debug information, more than 5 MB"

# A process may fork, and a host may set limits, before CUDA is needed: nothing of CUDA is linked.
mapfile -t needed < <(objdump -p "$library" | awk '$1 == "NEEDED" { print $2 }')
for name in "${needed[@]}"; do
  case $name in
    libc.so.6 | libm.so.6 | ld-linux-x86-64.so.2 | libstdc++.so.6 | libgcc_s.so.1) ;;
    libcrypto.so.3 | libyaml-cpp.so.*) ;;
    *) bad "needs $name" ;;
  esac
done
unresolved=$(ldd "$library" | grep 'not found' || true)
[[ -z $unresolved ]] || bad "does not find: $unresolved"

[[ $(objdump -p "$library" | awk '$1 == "SONAME" { print $2 }') == libsale.so.0 ]] || bad "has another soname than libsale.so.0"
if objdump -p "$library" | grep -E 'RPATH|RUNPATH'; then
  bad "names a folder of the machine that built it"
fi
exit $status
