#!/bin/sh
# Runs a command with each file of /run/secrets as the variable that it is called after. What stands
# in a container's environment from the start is shown to whoever may inspect it; this is not.
set -eu
for file in "${SECRETS:-/run/secrets}"/*; do
  # Others put theirs there, too: Kubernetes a folder with the pod's account, which is /var/run here.
  # No variable is called so. An empty file is a secret that this installation does not have.
  case ${file##*/} in [0-9]* | *[!A-Za-z0-9_]*) continue ;; esac
  [ ! -f "$file" ] || [ ! -s "$file" ] || export "${file##*/}=$(cat "$file")"
done
exec "$@"
