import type { TrainingFormat } from "@tenet/lm";
import { argument } from "./contestant.ts";

/** What `--weights` says of a contestant that trains: how its base is held where it speaks and under the adapters it learns. Float32 where nothing is said. */
export function trainingWeights(): { readonly weights: TrainingFormat; readonly trainedOn: TrainingFormat } {
  const asked = argument("--weights") ?? "float32";
  if (asked !== "float32" && asked !== "int8")
    throw new TypeError(`--weights ${asked}: adapters are trained over float32 or int8`);
  return { weights: asked, trainedOn: asked };
}
