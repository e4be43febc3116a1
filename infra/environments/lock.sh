#!/usr/bin/env bash
# Compiles every *.in beside this file into a hash-locked *.txt.   lock.sh UV [NAME…]
# NAME: only these (`vllm-cpu`).
set -euo pipefail
uv=$(realpath "$1"); shift
cd "$(dirname "$0")"
names=("$@"); [ "$#" -gt 0 ] || names=(uv orchestrator kubernetes development $(ls ./*-cpu.in ./*-cuda.in | sed 's|^\./||; s|\.in$||'))
for name in "${names[@]}"; do
  excludes=(); [ "${name%-cpu}" = "$name" ] || excludes=(--excludes excludes.txt)
  # A folder of wheels may hold torch's CPU build, which would satisfy a lock for CUDA as well.
  ( [ "${name%-cuda}" = "$name" ] || grep -q '^torch==.*+cpu' "$name.in" || unset UV_FIND_LINKS
    "$uv" pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
      --custom-compile-command 'make lock' "$name.in" "${excludes[@]}" -o "$name.txt" )
  echo "locked $name"
done
