"""Cuts ONNX Runtime's CUDA provider to the kernels of one kind of processor: python3 cut-cuda.py FROM TO ARCHITECTURE

The provider carries machine code for six kinds (75 to 120); a machine has one, such as 90 (H100, H200). The others' code is overwritten with
zeros where it lies, which leaves every address in the file as it was and takes no room once compressed. Kernels of attention, of mixtures of
experts and of packed weights go too: no graph of Tenet has those nodes. What is left is for a bundle that has to be small, not to be shipped.

Needs the program `zstd`: the code is compressed inside. Format: NVIDIA's fat binaries, as `cuobjdump` shows them.
"""

import re
import struct
import subprocess
import sys

CONTAINER = b"\x50\xed\x55\xba"  # of fat binaries; a header of 16 bytes, its own size and that of what follows among them
CUBIN = 2  # kind of an entry: machine code; 1 would be code for the driver to compile
UNUSED = re.compile(rb"flash|Flash|[Mm]oe|MoE|cutlass|xqa|kernel_mha|fpA_intB")
KERNEL = re.compile(rb"\.text\.([A-Za-z0-9_$.]+)")


def section(data, name):
    """Offset and size of an ELF file's section."""
    headers = struct.unpack_from("<Q", data, 0x28)[0]
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    read = lambda i: struct.unpack_from("<IIQQQQ", data, headers + i * size)
    strings = read(names)[4]
    for i in range(count):
        label, _, _, _, offset, length = read(i)
        if data.startswith(name + b"\0", strings + label):
            return offset, length
    sys.exit(f"expected a section {name.decode()}; is this the CUDA provider?")


def kernels(code):
    unpacked = subprocess.run(["zstd", "-dcq"], input=code, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    if not unpacked:
        sys.exit("an entry could not be unpacked with zstd: another compression than was expected")
    return set(KERNEL.findall(unpacked))


def main(source, target, architecture):
    with open(source, "rb") as file:
        data = bytearray(file.read())
    place, length = section(data, b".nv_fatbin")
    end, kept, cut = place + length, 0, 0
    while place < end - 16:
        if data[place : place + 4] != CONTAINER:
            place += 8
            continue
        header, size = struct.unpack_from("<HQ", data, place + 6)
        entry, last = place + header, place + header + size
        while entry < last:
            kind, _, own, payload = struct.unpack_from("<HHIQ", data, entry)
            (made_for,) = struct.unpack_from("<I", data, entry + 0x1C)
            code = slice(entry + own, entry + own + payload)
            if kind == CUBIN and made_for == architecture and not any(map(UNUSED.search, kernels(bytes(data[code])))):
                kept += 1
            else:
                data[code] = bytes(payload)
                cut += 1
            entry += own + payload
        place = last
    if kept == 0:
        sys.exit(f"the provider has no code for {architecture}")
    with open(target, "wb") as file:
        file.write(data)
    print(f"{kept} pieces of code kept, {cut} cut", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
