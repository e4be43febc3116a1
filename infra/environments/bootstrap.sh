#!/usr/bin/env bash
# Makes the orchestrator's environment in VENV from the hash-locked requirements.
#   bootstrap.sh VENV        PYTHON names the interpreter (3.11); uv from PATH is used if there is one.
#                            LOCK names the requirements: development, orchestrator or kubernetes.
set -euo pipefail
venv=$1
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || version=none
if [ "$version" != 3.11 ]; then
  echo "Assay needs Python 3.11; '$python' is $version. Give another: make demo PYTHON=/path/to/python3.11" >&2
  exit 1
fi

# uv does not read pip's configuration; a mirror or a wheel folder set there must count here too.
setting() { "$python" -m pip config get "$1" 2>/dev/null || true; }
export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-$(setting global.find-links)}}"
index="${UV_DEFAULT_INDEX:-${UV_INDEX_URL:-${PIP_INDEX_URL:-$(setting global.index-url)}}}"
[ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
[ -n "$UV_FIND_LINKS" ] || unset UV_FIND_LINKS
certificates="${SSL_CERT_FILE:-${PIP_CERT:-$(setting global.cert)}}"
[ -z "$certificates" ] || export SSL_CERT_FILE="$certificates"

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
  tools=$(mktemp -d); trap 'rm -rf "$tools"' EXIT
  echo "assay: fetching the installer"
  "$python" -m pip install -q --disable-pip-version-check --no-warn-script-location --root-user-action=ignore \
    --require-hashes --target "$tools" -r "$here/uv.txt"
  uv=$tools/bin/uv
fi
echo "assay: building the orchestrator's environment in $venv"
[ -x "$venv/bin/python" ] || "$uv" venv -q --python "$python" "$venv"
export VIRTUAL_ENV; VIRTUAL_ENV=$(cd "$venv" && pwd)
"$uv" pip sync -q --require-hashes "$here/${LOCK:-development}.txt"
# Editable, so that Prefect finds the packages wherever a worker starts.
"$uv" pip install -q --no-deps --no-build-isolation -e "$root"
