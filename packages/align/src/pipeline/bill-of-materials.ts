import { createHash } from "node:crypto";
import type { RunInfo, StageInfo } from "@tenet/runs";
import type { Scorecard } from "../evaluate/index.ts";
import type { StoredCheckpoint } from "./checkpoints.ts";
import { baseDifference, type ExportBase } from "./export-base.ts";
import { isMeasured } from "./model-card.ts";

export interface Materials {
  readonly info: RunInfo;
  /** Those that are done. */
  readonly stages: readonly StageInfo[];
  readonly scorecard: Scorecard | undefined;
  readonly checkpoints: readonly StoredCheckpoint[];
  /** Files of rows, by stage. */
  readonly files: ReadonlyMap<string, string>;
  readonly base: ExportBase;
  readonly licence?: string;
}

/**
 * A run's models, data and programs as a CycloneDX bill of materials (1.6, ECMA-424): the base, what was trained of it with its hashes and
 * figures, every dataset, and what each was made from. What is not known, a licence for instance, is left out.
 */
export function billOfMaterials({ info, stages, scorecard, checkpoints, files, base, licence }: Materials): object {
  const datasets = stages.filter(({ name }) => files.has(name));
  const learntFrom = datasets.filter(({ name, kind }) => !isMeasured(name, kind));
  const [first, ...trained] = checkpoints;
  const models = trained.map((checkpoint) => ({
    type: "machine-learning-model",
    "bom-ref": `model:${checkpoint.id}`,
    name: `${info.name} ${checkpoint.id}`,
    version: info.id,
    hashes: (stages.find(({ name }) => name === stageOf(checkpoint))?.artifacts ?? []).map((content) => {
      return { alg: "SHA-256", content };
    }),
    ...(scorecard && {
      modelCard: { quantitativeAnalysis: { performanceMetrics: metrics(scorecard, checkpoint.id) } },
    }),
  }));
  const madeOf = (checkpoint: StoredCheckpoint, i: number) => {
    const before = trained.slice(0, i).filter((one) => checkpoint.from?.includes(stageOf(one)) ?? true);
    return `model:${(before.at(-1) ?? first!).id}`;
  };
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    serialNumber: `urn:uuid:${uuidOf(info.id)}`,
    version: 1,
    metadata: {
      timestamp: info.updated,
      tools: {
        components: Object.entries(info.versions).map(([name, version]) => ({ type: "application", name, version })),
      },
      component: { type: "machine-learning-model", "bom-ref": "run", name: info.name, version: info.id },
    },
    components: [
      { "bom-ref": `model:${first?.id ?? "base"}`, ...baseComponent(base, licence) },
      ...models,
      ...datasets.map(({ name, kind, dataset }) => ({
        type: "data",
        "bom-ref": `data:${name}`,
        name,
        hashes: [{ alg: "SHA-256", content: dataset!.hash }],
        data: [
          { type: "dataset", name, contents: { url: files.get(name) }, description: `rows of a stage of kind ${kind}` },
        ],
      })),
    ],
    dependencies: [
      { ref: "run", dependsOn: models.map((model) => model["bom-ref"]) },
      ...models.map((model, i) => ({
        ref: model["bom-ref"],
        dependsOn: [madeOf(trained[i]!, i), ...learntFrom.map(({ name }) => `data:${name}`)],
      })),
    ],
  };
}

/** What training began with; where it took the place of a model of the hub, that one is its ancestor. */
function baseComponent(base: ExportBase, licence: string | undefined): object {
  const { hub, reference, sha256, insteadOf } = base;
  const type = "machine-learning-model";
  return {
    ...{ type, name: hub ?? reference },
    ...(insteadOf !== undefined && { description: baseDifference(base) }),
    ...(sha256 !== undefined && { hashes: [{ alg: "SHA-256", content: sha256 }] }),
    ...(licence !== undefined && { licenses: [{ license: { name: licence } }] }),
    ...(insteadOf !== undefined && { pedigree: { ancestors: [{ type, name: insteadOf }] } }),
  };
}

/** The stage that is a checkpoint. */
function stageOf({ from, steps }: StoredCheckpoint): string {
  return from?.at(-1) ?? steps.at(-1) ?? "";
}

function metrics({ rows, metrics: named }: Scorecard, checkpoint: string): object[] {
  return rows
    .filter((row) => row.checkpoint === checkpoint)
    .map(({ metric, value, interval }) => ({
      type: named.find(({ name }) => name === metric)?.label ?? metric,
      value: `${value}`,
      ...(interval.every((bound) => bound !== null) && {
        confidenceInterval: { lowerBound: `${interval[0]}`, upperBound: `${interval[1]}` },
      }),
    }));
}

/** A UUID (version 8: of our own making) that is the same for the same run. */
function uuidOf(run: string): string {
  const digits = createHash("sha256").update(run).digest("hex");
  return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-8${digits.slice(13, 16)}-8${digits.slice(17, 20)}-${digits.slice(20, 32)}`;
}
