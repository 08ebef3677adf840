import type { LocalOptions } from "@tenet/lm";
import { argument } from "./contestant.ts";

/** What `--weights` says of a contestant that trains: how its base is held where it speaks and under the adapters it learns. Float32 where nothing is said. */
export function trainingWeights(): { readonly weights: "float32" | "int8"; readonly trainedOn: "float32" | "int8" } {
  const asked = (argument("--weights") ?? "float32") as NonNullable<LocalOptions["weights"]>;
  if (asked === "int4") throw new TypeError("--weights int4: adapters are trained over float32 or int8");
  return { weights: asked, trainedOn: asked };
}
