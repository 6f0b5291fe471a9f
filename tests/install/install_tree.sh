#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# install_tree.sh CMAKE BUILD PREFIX: installs each component by itself and compares the files with what they should be.
# Then all lie in PREFIX, which is not where they were installed.
set -euo pipefail
cmake=$1 build=$2 prefix=$3
trial=$prefix.made
rm -rf "$prefix" "$trial"

# expect COMPONENT PATTERN...: its files are as many as the patterns, one each.
expect() {
  local component=$1 pattern file found
  shift
  "$cmake" --install "$build" --prefix "$trial/$component" --component "$component" >/dev/null
  mapfile -t files < <(cd "$trial/$component" && find . ! -type d | sed 's|^\./||' | sort)
  for pattern in "$@"; do
    found=0
    for file in "${files[@]}"; do
      # shellcheck disable=SC2053 # a pattern, not a text
      [[ $file != $pattern ]] || found=$((found + 1))
    done
    [[ $found == 1 ]] || {
      echo "component $component: $found files, not one, are $pattern: ${files[*]}"
      exit 1
    }
  done
  [[ ${#files[@]} -eq $# ]] || {
    echo "component $component: ${#files[@]} files, not $#: ${files[*]}"
    exit 1
  }
}

source=$(cd "$(dirname "$0")/../.." && pwd)
mapfile -t headers < <(cd "$source" && find include -name '*.h*')
expect runtime 'lib*/libsale.so.[0-9]' 'lib*/libsale.so.[0-9]*.*' 'share/doc/sale/LICENSE' 'share/doc/sale/THIRD_PARTY.md'
expect development 'lib*/libsale.so' 'lib*/libsale.a' "${headers[@]}" 'lib*/pkgconfig/sale.pc' 'lib*/pkgconfig/sale-static.pc' \
  'lib*/cmake/sale/sale-config.cmake' 'lib*/cmake/sale/sale-config-version.cmake' \
  'lib*/cmake/sale/sale-shared.cmake' 'lib*/cmake/sale/sale-shared-*.cmake' \
  'lib*/cmake/sale/sale-static.cmake' 'lib*/cmake/sale/sale-static-*.cmake'

mkdir "$prefix"
cp -a "$trial/runtime/." "$trial/development/." "$prefix"
rm -rf "$trial"
if grep -rlF "$build" "$prefix" --include='*.cmake' --include='*.pc'; then
  echo "the files above name the build folder"
  exit 1
fi
