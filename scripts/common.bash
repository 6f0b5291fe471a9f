# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the scripts share. Sourced, not run; leaves the shell in the repository's root.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
wheel_folder=$PWD/build/nvrtc

say() { printf '\n== %s\n' "$*"; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# logged LOG COMMAND...: keeps the output in LOG and shows its end on failure.
logged() {
  local log=$1
  shift
  mkdir -p "$(dirname "$log")"
  if ! "$@" >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    printf 'error: %s failed; the whole log is %s\n' "$1" "$log" >&2
    return 1
  fi
}

# Whether the library would find an NVRTC by itself (runtime/nvrtc_search.hpp looks in the same places).
system_has_nvrtc() {
  [[ -n ${SALE_NVRTC:-} ]] && return 0
  local home folder
  local -a folders=(/usr/local/cuda/lib64 /usr/lib/x86_64-linux-gnu /usr/lib64)
  for home in "${CUDA_HOME:-}" "${CUDA_PATH:-}"; do
    [[ -n $home ]] && folders+=("$home/lib64" "$home/lib")
  done
  for home in "${VIRTUAL_ENV:-}" "${HOME:-}/.local" /usr/local /usr; do
    [[ -n $home ]] && folders+=("$home"/lib/python3*/*-packages/nvidia/{cu13,cuda_nvrtc}/lib)
  done
  for folder in "${folders[@]}"; do
    compgen -G "$folder/libnvrtc.so.1[23]" >/dev/null && return 0
  done
  return 1
}

# Names the wheel that install-dependencies put below build/, when there is nothing better.
use_nvrtc() {
  local folder
  system_has_nvrtc && return 0
  for folder in "$wheel_folder"/nvidia/{cu13,cuda_nvrtc}/lib; do
    if [[ -d $folder ]]; then
      export SALE_NVRTC=$folder
      return 0
    fi
  done
}

# configure PRESET [-D...]: with ccache when there is one.
configure() {
  local preset=$1
  shift
  local -a launcher=()
  command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  logged "build/logs/configure-$preset.log" cmake --preset "$preset" "${launcher[@]}" "$@"
}

# build PRESET TARGET...: on a terminal with ninja's own progress.
build() {
  local preset=$1
  shift
  if [[ -t 1 ]]; then
    cmake --build "build/$preset" --target "$@"
  else
    logged "build/logs/build-$preset.log" cmake --build "build/$preset" --target "$@"
  fi
}
