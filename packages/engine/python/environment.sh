#!/usr/bin/env bash
# Makes the Python environment of the engine's tests, once for a list of requirements. On Linux with a GPU 5.5 GB, most of it CUDA libraries;
# without one 2 GB: torch is then made to do without them (without_cuda.py).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$HOME/.cache/tenet/engine-$(sha256sum "$here/requirements.txt" | cut -c1-12)
if [ -e "$folder/ready" ]; then echo "$folder is there"; exit 0; fi
light=
if [ "$(uname -sm)" = "Linux x86_64" ] && ! command -v nvidia-smi > /dev/null && command -v gcc readelf > /dev/null; then light=yes; fi
need=$([ -n "$light" ] && echo 3 || echo 8)
free=$(df -Pk "$HOME" | awk 'NR == 2 { print int($4 / 1048576) }')
[ "$free" -ge "$need" ] || { echo "$need GB of disk are needed in $HOME, $free are free" >&2; exit 1; }
# Made in its place, since its programs hold their own path; one that was not finished is begun anew.
rm -rf "$folder"
"${PYTHON:-python3}" -m venv "$folder"
pip() { "$folder/bin/python" -m pip install --quiet --no-compile "$@"; }
if [ -n "$light" ]; then
  pinned() { grep -E "^($1)(\[|==)" "$here/requirements.txt"; }
  # What names torch as a requirement would bring its CUDA libraries.
  pip --no-deps $(pinned 'torch|peft|accelerate')
  pip $(pinned 'transformers|safetensors|numpy|jsonschema|ray') psutil filelock typing-extensions sympy networkx jinja2 fsspec setuptools
  "$folder/bin/python" "$here/without_cuda.py"
else
  pip --requirement "$here/requirements.txt"
fi
touch "$folder/ready"
echo "made $folder"
