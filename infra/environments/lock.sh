#!/usr/bin/env bash
# Compiles every *.in beside this file into a hash-locked *.txt.   lock.sh UV
set -euo pipefail
uv=$1
cd "$(dirname "$0")"
compile() { "$uv" pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
  --custom-compile-command 'make lock' "$@"; echo "locked $1"; }
compile uv.in -o uv.txt
compile orchestrator.in -o orchestrator.txt
compile development.in -o development.txt
for device in cpu cuda; do
  # A folder of wheels may hold torch's CPU build, which would satisfy the CUDA lock as well.
  [ "$device" = cpu ] || unset UV_FIND_LINKS
  excludes=(); [ "$device" = cuda ] || excludes=(--excludes excludes.txt)
  compile "server-$device.in" "${excludes[@]}" -o "server-$device.txt"
  compile "quantizer-$device.in" "${excludes[@]}" -o "quantizer-$device.txt"
done
