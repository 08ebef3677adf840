#!/usr/bin/env bash
# Makes the Python environment of the engine's tests, once for a list of requirements: 5.5 GB, most of it CUDA libraries that torch does not
# import without on Linux.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$HOME/.cache/tenet/engine-$(sha256sum "$here/requirements.txt" | cut -c1-12)
if [ -x "$folder/bin/python" ]; then echo "$folder is there"; exit 0; fi
free=$(df -Pk "$HOME" | awk 'NR == 2 { print int($4 / 1048576) }')
[ "$free" -ge 8 ] || { echo "8 GB of disk are needed in $HOME, $free are free" >&2; exit 1; }
"${PYTHON:-python3}" -m venv "$folder.new"
"$folder.new/bin/pip" install --quiet --requirement "$here/requirements.txt"
mv "$folder.new" "$folder"
echo "made $folder"
