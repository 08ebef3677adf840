// npx tsx --conditions=source scripts/hold-to-avx2.ts [--back]
//
// Holds this checkout's ONNX Runtime to its AVX2 kernels on a processor that has AVX-512, so that what a recipe gives can be measured as
// older processors round it. The runtime asks the processor for its instruction set once and offers no setting; this changes the
// instructions that read the answer, in the installed library: the state that the system keeps (XCR0) never holds AVX-512's registers, and
// AVX-VNNI is never found. Speed is then not that of an older processor, but products are summed in its order. `--back` undoes it.
// Not for a checkout that is worked in: evidence and benches of it say that they were held.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { heldFile, runtimeFolder } from "../bench/machine.ts";

/** What the library of onnxruntime-node 1.30.0 for Linux on x64 says, how often, and what it is to say; of equal length. */
const changes = [
  // xgetbv; mov eax, eax → mov eax, 7: x87, SSE and AVX.
  { from: "0f01d089c0", to: "b807000000", times: 2 },
  // xgetbv; mov edx, edi → mov al, 7; nop; mov edx, edi: the bits above are not looked at.
  { from: "0f01d089fa", to: "b0079089fa", times: 1 },
  // cpuid; test al, 0x10 → test al, 0.
  { from: "0fa2a810", to: "0fa2a800", times: 1 },
];

const { values: options } = parseArgs({ options: { back: { type: "boolean", default: false } } });
const library = join(runtimeFolder(), "libonnxruntime.so.1");
const untouched = `${library}.untouched`;
if (options.back) {
  if (existsSync(untouched)) renameSync(untouched, library);
  rmSync(heldFile(), { force: true });
  console.log("ONNX Runtime uses what the processor has");
} else if (existsSync(heldFile())) {
  console.log("ONNX Runtime is held to AVX2 already");
} else {
  const before = readFileSync(library);
  let text = before.toString("latin1");
  for (const { from, to, times } of changes) {
    const [old, mended] = [from, to].map((hex) => Buffer.from(hex, "hex").toString("latin1")) as [string, string];
    const found = text.split(old).length - 1;
    if (found !== times) {
      const digest = createHash("sha256").update(before).digest("hex");
      console.error(
        `${library} (sha256 ${digest}) holds the instructions ${from} ${found} times where ${times} were expected: it is not the library of onnxruntime-node 1.30.0 for Linux on x64, and is left as it is`,
      );
      process.exit(2);
    }
    text = text.replaceAll(old, mended);
  }
  // A new file in place of the old: npm may have linked that one to its cache, and a process may have mapped it.
  writeFileSync(`${library}.held`, Buffer.from(text, "latin1"));
  writeFileSync(untouched, before);
  writeFileSync(heldFile(), "AVX2\n");
  renameSync(`${library}.held`, library);
  console.log("ONNX Runtime is held to AVX2");
}
