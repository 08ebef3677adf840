"""Lets PyPI's torch for Linux be imported where there is no GPU, without the 4 GB of CUDA libraries that it is linked against.

Each library becomes one whose functions do nothing but say that there is no device (cudaErrorNoDevice), so that torch finds none and computes
on the processor. For tests on such machines only; where torch is whole, nothing is done.

    python without_cuda.py
"""

import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

NO_DEVICE = 100
NOTHING = f"mov ${NO_DEVICE}, %eax"
TEXT = "lea words(%rip), %rax"
# What is asked without a device too: the words for an error, whether there was one, whether a stream is being captured.
BODIES = {
    "cudaGetErrorString": TEXT,
    "cudaGetErrorName": TEXT,
    "cudaGetLastError": "xor %eax, %eax",
    "cudaPeekAtLastError": "xor %eax, %eax",
    "cudaStreamIsCapturing": "movl $0, (%rsi)\nxor %eax, %eax",
}
OURS = re.compile(r"^(__)?(cu|nccl|nvrtc|nvshmem|nvJit)")


def main():
    libraries = Path(find_spec("torch").origin).parent / "lib"
    if not (libraries / "libtorch_cuda.so").exists():
        return print("this torch is for processors alone")
    wanted: dict[str, set[tuple[str, str | None]]] = {}
    for path in libraries.glob("*.so"):
        needed = [name for name in re.findall(r"NEEDED.*\[(.*)\]", readelf("-d", path)) if re.match(r"lib(cu|nccl|nvrtc|nvshmem)", name)]
        for name in needed:
            wanted.setdefault(name, set())
        for symbol, version in undefined(path):
            # A version says whose it is; without one any library that is loaded will do.
            owner = version if version in needed else next((name for name in needed if symbol.startswith(stem(name))), None)
            owner = owner or ("libcudart.so.13" if OURS.match(symbol) and version is None else None)
            if owner:
                wanted.setdefault(owner, set()).add((symbol, version))
    for name, symbols in wanted.items():
        if name == "libcuda.so.1":
            continue
        build(libraries / name, symbols)
        print(f"{name}: {len(symbols)} functions")


def stem(library: str) -> str:
    return re.match(r"lib([a-zA-Z]+)", library).group(1)


def readelf(flag: str, path: Path) -> str:
    return subprocess.run(["readelf", "-W", flag, path], check=True, capture_output=True, text=True).stdout


def undefined(path: Path):
    for line in readelf("--dyn-syms", path).splitlines():
        found = re.match(r"\s*\d+: \w+\s+\d+ (FUNC|NOTYPE)\s+GLOBAL\s+DEFAULT\s+UND (\S+)", line)
        if found:
            symbol, _, version = found.group(2).partition("@")
            yield symbol, version.lstrip("@") or None


def build(into: Path, symbols: set[tuple[str, str | None]]):
    with tempfile.TemporaryDirectory() as folder:
        source, script = Path(folder, "stub.s"), Path(folder, "versions")
        names = sorted({symbol for symbol, _ in symbols})
        bodies = (f".globl {name}\n.type {name},@function\n{name}: {BODIES.get(name, NOTHING)}\nret\n" for name in names)
        words = '.section .rodata\nwords: .string "no CUDA device: its libraries are stand-ins"\n'
        source.write_text(".text\n" + "".join(bodies) + words + '.section .note.GNU-stack,"",@progbits\n')
        versions = sorted({version for _, version in symbols if version})
        nodes = (
            f"{version} {{ global: {' '.join(f'{name};' for name, own in sorted(symbols, key=str) if own == version)} }};\n"
            for version in versions
        )
        script.write_text("".join(nodes))
        versioned = [f"-Wl,--version-script={script}"] if versions else []
        subprocess.run(
            ["gcc", "-shared", "-nostdlib", f"-Wl,-soname,{into.name}", *versioned, source, "-o", into], check=True
        )


if __name__ == "__main__":
    sys.exit(main())
