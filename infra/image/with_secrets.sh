#!/bin/sh
# Runs a command with each file of /run/secrets as the variable that it is called after. What stands
# in a container's environment from the start is shown to whoever may inspect it; this is not.
set -eu
for file in "${SECRETS:-/run/secrets}"/*; do
  # An empty file is a secret that this installation does not have.
  [ ! -s "$file" ] || export "$(basename "$file")=$(cat "$file")"
done
exec "$@"
