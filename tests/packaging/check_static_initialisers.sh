#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check_static_initialisers.sh ARCHIVE...: fails if an object of these libraries runs code when a program is loaded.
set -euo pipefail
status=0
for archive in "$@"; do
  sections=$(readelf --wide --section-headers "$archive")
  grep -q '\.text' <<<"$sections" || {
    echo "$archive has no code at all: is it the library that was meant?"
    exit 1
  }
  if ! awk -v archive="$archive" '
      /^File: / { object = $2 }
      /\.(init_array|ctors)/ { print object " runs code when it is loaded"; found = 1 }
      END { exit found }' <<<"$sections"; then
    status=1
  fi
done
exit $status
