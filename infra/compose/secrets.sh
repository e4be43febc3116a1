#!/usr/bin/env bash
# Makes the secrets that compose.yaml mounts; what is there stays.   secrets.sh [FOLDER]
set -euo pipefail
folder=${1:-$(dirname "$0")/secrets}
random() { head -c 32 /dev/urandom | base64 -w 0 | tr '+/' '-_'; }
once() { [ -e "$folder/$1" ] || printf '%s' "$2" > "$folder/$1"; }

# The folder is closed to others; the files are open to the containers' users, who are not you.
mkdir -p "$folder"
chmod 700 "$folder"
once database_password "$(random)"
once auth_string "assay:$(random)"
# Encrypts Prefect's blocks. Without one Prefect keeps the key in the database, beside them.
once encryption_key "$(random)"
# Tokens of model hubs: write yours there, or leave them empty.
once hf_token ''
once modelscope_token ''
chmod 644 "$folder"/*
echo "secrets are in $folder; what the login page asks for stands in auth_string"
