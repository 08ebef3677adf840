// Writes the JSON Schema by which the engine checks requests, from packages/engine/src/protocol.ts. `npm run docs` runs it.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { programFolder, protocolSchema } from "@tenet/engine";

writeFileSync(
  join(programFolder, "tenet_engine/protocol.schema.json"),
  `${JSON.stringify(protocolSchema(), null, 2)}\n`,
);
