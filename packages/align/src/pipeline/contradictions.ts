import { normalize } from "node:path";
import { nearest, type ParsedDocument, type Path, type Problem } from "@tenet/data";
import { isUncounted } from "@tenet/lm";
import type { Constitution, Principle } from "../constitution/index.ts";
import { lookers } from "../feedback/constitution-first.ts";
import { isTrained, type Recipe, rewardsPreference, showsProxy } from "./recipe.ts";

/** What each by itself may be, but not together. */
export function* contradictions(document: ParsedDocument<Recipe>): Generator<Problem> {
  const { supervised, policy, feedback, preferenceModel, prompts, roles, evaluate } = document.value;
  const problem = (path: Path, expected: string, got?: string) => document.problem(path, { expected, got });

  if (supervised.revisions === 0 && supervised.examples.unchanged === "skip")
    yield problem(
      ["supervised", "revisions"],
      'at least 1, or supervised.examples.unchanged: "keep": without revisions there is nothing else to learn',
    );
  if (supervised.revisions === 0 && supervised.examples.from !== "final")
    yield problem(
      ["supervised", "examples", "from"],
      '"final", or supervised.revisions of at least 1: without revisions there is none to learn',
    );
  if (supervised.critique.critiques === "none" && supervised.examples.from === "critique-and-revision")
    yield problem(
      ["supervised", "examples", "from"],
      '"final" or "every-revision", or supervised.critique.critiques other than "none": there are no critiques to learn',
    );

  const without =
    "policy beside it, e.g. policy: { algorithm: ppo }: without reinforcement learning nothing is labelled";
  if (policy === undefined) {
    if (feedback.audit !== undefined) yield problem(["feedback", "audit"], without, "an audit alone");
    if (feedback.demonstrations !== undefined)
      yield problem(["feedback", "demonstrations"], without, "demonstrations for a labeller alone");
    for (const key of ["pretrain", "human"] as const)
      if (preferenceModel[key] !== undefined)
        yield problem(["preferenceModel", key], without, "data for a preference model alone");
  } else if ("reward" in policy && policy.reward.preference === 0 && policy.reward.constitution === 0)
    yield problem(
      ["policy", "reward"],
      "a weight above 0 for preference or constitution: else every response is worth the same",
      "0 for both",
    );

  const { heldOut } = prompts;
  if (policy !== undefined && !rewardsPreference(policy) && !showsProxy(document.value)) {
    const user = `${heldOut === undefined ? "prompts.heldOut and " : ""}evaluate.proxy: true, which has the preference model score the replies to held-out prompts`;
    const needed = `policy.reward.preference above 0, or ${user}: else nothing needs a preference model, and none is trained`;
    if (preferenceModel.pretrain !== undefined)
      yield problem(["preferenceModel", "pretrain"], needed, "data for a preference model alone");
    // DPO learns from people's pairs itself.
    if (preferenceModel.human !== undefined && policy.algorithm !== "dpo")
      yield problem(["preferenceModel", "human"], needed, "data for a preference model alone");
  }
  if (evaluate.proxy === true && (policy === undefined || heldOut === undefined))
    yield problem(
      ["evaluate", "proxy"],
      "policy and prompts.heldOut beside it: the preference model, which is made for a policy, scores the replies to held-out prompts",
      "a proxy alone",
    );

  if (policy !== undefined && supervised.weights === "all")
    yield problem(
      ["supervised", "weights"],
      '"lora" beside a policy: policy, reference, preference model and value network are adapters of one base',
      '"all"',
    );

  if (isTrained(roles.labeller)) {
    const at = ["roles", "labeller", "train"];
    if (policy === undefined) yield problem(at, without, "a labeller alone");
    else if (
      policy.algorithm !== "dpo" &&
      feedback.audit === undefined &&
      !rewardsPreference(policy) &&
      !showsProxy(document.value)
    )
      yield problem(
        at,
        "policy.reward.preference above 0, policy: { algorithm: dpo } or evaluate.proxy: true: else nothing is labelled",
        "a labeller alone",
      );
    if (feedback.label.method !== "choice")
      yield problem(
        ["feedback", "label", "method"],
        '"choice" beside roles.labeller.train: what is trained is the answer at once',
        `"${feedback.label.method}"`,
      );
  }
  yield* ofTrainedJudges(document);

  for (const [name, role] of Object.entries(roles)) {
    if (typeof role !== "object" || !("endpoint" in role) || !isUncounted(role)) continue;
    yield problem(
      ["roles", name, "budget", "usd"],
      `a price above 0 beside the budget, as roles.${name}.price: { prompt: 0.5, completion: 1.5 } in dollars per million tokens; or budget.tokens, which needs none`,
      `$${role.budget?.usd} ${role.price ? "at a price of 0" : "without a price"}, which would stop nothing`,
    );
  }

  if (heldOut === undefined && roles.judge !== undefined)
    yield problem(
      ["roles", "judge"],
      "prompts.heldOut beside it: the judge compares replies to held-out prompts",
      "a judge alone",
    );
  if (heldOut === undefined && evaluate.neutral !== undefined)
    yield problem(
      ["evaluate", "neutral"],
      "prompts.heldOut beside it: the scorecard, which it is for, is made on held-out prompts",
      "neutral texts alone",
    );
  const { baselines } = evaluate;
  if (heldOut === undefined && baselines)
    yield problem(
      ["evaluate", "baselines"],
      "prompts.heldOut beside it: the baselines answer held-out prompts",
      "baselines alone",
    );
  if (
    baselines !== undefined &&
    baselines !== false &&
    baselines.includes("demonstrations") &&
    supervised.demonstrations === undefined
  )
    yield problem(
      ["evaluate", "baselines"],
      "supervised.demonstrations beside it: the untrained model is shown them",
      'the baseline "demonstrations" without any',
    );
  if (heldOut !== undefined && pathOf(heldOut) === pathOf(prompts.train))
    yield problem(
      ["prompts", "heldOut"],
      "another file than prompts.train: what was trained on says nothing about what is new",
      `${pathOf(heldOut)} again`,
    );
}

/** What a recipe asks of a constitution that this one does not have. */
export function* unmet(document: ParsedDocument<Recipe>, constitution: Constitution): Generator<Problem> {
  const { supervised, policy, feedback, roles } = document.value;
  const { principles } = constitution;
  const named = `the constitution "${constitution.name}"`;
  const drawn = (use: Principle["use"]) =>
    principles.filter(({ weight, use: own }) => weight > 0 && (own === "both" || own === use));
  const checked = (some: readonly Principle[]) => some.some(({ checks }) => checks.length > 0);
  const noChecks = `${named}, which has none`;
  const problem = (path: Path, expected: string, got: string) => document.problem(path, { expected, got });

  const ids = principles.map(({ id }) => id);
  for (const [i, id] of (document.value.evaluate.mustHold ?? []).entries())
    if (!ids.includes(id))
      yield document.problem(["evaluate", "mustHold", i], {
        expected: `the id of a principle of ${named}: ${ids.join(", ")}`,
        got: JSON.stringify(id),
        suggestion: nearest(id, ids),
      });
  const { critique, examples, revisions } = supervised;
  if (revisions > 0 && drawn("revision").length === 0)
    yield problem(
      ["constitution"],
      'a principle with a weight above 0 and use: "revision" or "both"',
      `${named}, which has none`,
    );
  else if (revisions > 0 && critique.critiques === "checks" && !checked(drawn("revision")))
    yield problem(["supervised", "critique", "critiques"], "checks in principles for revision", noChecks);
  if (!checked(principles)) {
    if (critique.accept === "no-worse-by-checks")
      yield problem(["supervised", "critique", "accept"], "checks in the constitution", noChecks);
    if (critique.endWhen === "checks-pass")
      yield problem(["supervised", "critique", "endWhen"], "checks in the constitution", noChecks);
    if (examples.keep !== "all")
      yield problem(["supervised", "examples", "keep"], "checks in the constitution", noChecks);
  }
  for (const name of ["labeller", "judge"] as const) {
    const role = roles[name];
    if (!isTrained(role)) continue;
    const { pairs } = role.train;
    if (typeof pairs === "object" && "from" in pairs && pairs.from === "checks" && !checked(principles))
      yield problem(["roles", name, "train", "pairs", "from"], "checks in the constitution", noChecks);
  }
  if (policy === undefined && !isTrained(roles.judge)) return;
  if (drawn("preference").length === 0)
    yield problem(
      ["constitution"],
      'a principle with a weight above 0 and use: "preference" or "both", which labels are asked under',
      `${named}, which has none`,
    );
  if (policy === undefined || checked(principles)) return;
  if (lookers(feedback.label.constitutionFirst).checks)
    yield problem(["feedback", "label", "constitutionFirst", "by"], "checks in the constitution", noChecks);
  if ("reward" in policy && policy.reward.constitution > 0)
    yield problem(["policy", "reward", "constitution"], "0, or checks in the constitution, which it rewards", noChecks);
}

/** What a judge that is trained for a role learns from, and what it is audited on. */
function* ofTrainedJudges(document: ParsedDocument<Recipe>): Generator<Problem> {
  const { roles } = document.value;
  for (const name of ["labeller", "judge"] as const) {
    const role = roles[name];
    if (!isTrained(role)) continue;
    const { pairs, audit } = role.train;
    const { path, ...file } = audit;
    const at = ["roles", name, "train", "audit"];
    if (path !== undefined && (typeof pairs === "string" || "path" in pairs) && pathOf(pairs) === normalize(path))
      yield document.problem([...at, "path"], {
        expected: "another file than the pairs it learns from, or no path: a share of them is held out then",
        got: `${path} again`,
      });
    for (const key of ["format", "limit"] as const)
      if (path === undefined && file[key] !== undefined)
        yield document.problem([...at, key], {
          expected: "path beside it, the file that it is of",
          got: `${key} alone`,
        });
  }
}

function pathOf(reference: Recipe["prompts"]["train"]): string {
  return normalize(typeof reference === "string" ? reference : reference.path);
}
