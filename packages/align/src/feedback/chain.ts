import type { ChainRow, ResponseRow } from "@tenet/data";
import { mean } from "@tenet/data";
import { type Completion, whyEmpty } from "@tenet/lm";
import type { Answer } from "../ask.ts";
import {
  type Constitution,
  checkReward,
  type Demonstration,
  type Principle,
  runChecks,
  violations,
} from "../constitution/index.ts";
import { critiqueFormats, findsNothing, unshown } from "../judge/index.ts";
import type { CritiqueSettings } from "./critique-settings.ts";
import { cleanRevision, revisionFault } from "./revision.ts";

/** A critique–revision chain while it grows: what each answer of critic and reviser does to it. */
export class Chain {
  readonly row: ResponseRow;
  readonly responses: string[];
  readonly rounds: ChainRow["rounds"] = [];
  /** Why the row cannot be used. */
  aside: string | undefined;
  /** Of the round under way; undefined where revisions are asked for directly. */
  critique: string | undefined;
  /** What is left of the draw, in order. */
  readonly #principles: Principle[];
  readonly #constitution: Constitution;
  readonly #settings: CritiqueSettings;
  #ended = false;

  constructor(row: ResponseRow, drawn: readonly Principle[], constitution: Constitution, settings: CritiqueSettings) {
    this.row = row;
    this.responses = [row.response];
    this.#principles = [...drawn];
    this.#constitution = constitution;
    this.#settings = settings;
    if (settings.format !== undefined) this.aside = unshown(row.prompt, critiqueFormats[settings.format]);
  }

  get response(): string {
    return this.responses.at(-1)!;
  }

  /** The principle of the round under way. */
  get principle(): Principle {
    return this.#principles[0]!;
  }

  /** Whether no further round follows. */
  get over(): boolean {
    if (this.aside !== undefined || this.#ended || this.rounds.length === this.#settings.rounds) return true;
    return this.#settings.endWhen === "checks-pass" && this.#judge(this.response).passed;
  }

  /**
   * Takes the next principle; whether there is one. Where checks write the critiques it is, of those that the response
   * violates, the one that had the fewest turns; of these the gravest, by weight × severity; of equals the first drawn. The
   * chain ends when there is none.
   */
  begin(): boolean {
    if (this.#settings.critiques !== "checks") return true;
    const turns = ({ id }: Principle) => this.rounds.filter(({ principle }) => principle === id).length;
    const next = this.#principles
      .map((principle) => ({ principle, turns: turns(principle), ...this.#found(principle) }))
      .filter(({ broken }) => broken.length > 0)
      .sort((x, y) => x.turns - y.turns || y.gravity - x.gravity)[0];
    if (!next) {
      this.#ended = true;
      return false;
    }
    this.#principles.splice(this.#principles.indexOf(next.principle), 1);
    this.#principles.unshift(next.principle);
    this.critique = `The answer breaks this rule: ${next.broken.join("; ")}.`;
    return true;
  }

  /** Whether a revision is to follow. */
  takeCritique(answer: Answer<Completion[]>): boolean {
    if ("refused" in answer) {
      this.aside = `critique: ${answer.refused}`;
      return false;
    }
    const completion = answer.value[0]!;
    const { text, finishReason } = completion;
    this.critique = text.trim();
    const { format, endWhen } = this.#settings;
    const read = format === undefined ? undefined : critiqueFormats[format].read(this.critique);
    if (read) this.critique = read.text;
    const nothing = read ? !read.objects : findsNothing(this.critique);
    const satisfied = endWhen === "critique-finds-nothing" && nothing;
    let rejected: string | undefined;
    if (finishReason === "filtered") rejected = "the critique was withheld by the service";
    else if (this.critique === "") rejected = `the critique is ${whyEmpty(completion)}`;
    else if (format !== undefined && read === undefined) rejected = "no critique can be read in what the critic said";
    else if (satisfied) rejected = "the critique finds nothing";
    if (rejected === undefined) return true;
    this.#ended = satisfied;
    this.#close({ rejected });
    return false;
  }

  /**
   * The usable candidate that the checks value most becomes the response; of equals the one whose tokens are likeliest on
   * average, where the reviser reports that, else the first. Without a usable one the first is recorded with its fault.
   */
  takeRevision(answer: Answer<Completion[]>, demonstrations: readonly Demonstration[]): void {
    if ("refused" in answer) {
      this.aside = `revision: ${answer.refused}`;
      return;
    }
    const requests = [
      this.principle.revisionRequest,
      this.principle.critiqueRequest,
      ...(this.critique === undefined ? [] : [this.critique]),
      ...demonstrations.map(({ revisionRequest }) => revisionRequest),
    ];
    const candidates = answer.value.map((completion) => {
      const { text: raw, finishReason, tokens = [] } = completion;
      const trim = finishReason === "length" && this.#settings.whenCut === "trim";
      const clean = cleanRevision(raw, { requests, trim });
      const found = revisionFault(clean, {
        finishReason,
        responses: this.responses,
        critique: this.critique,
        demonstrations,
        conversation: this.row.prompt,
      });
      const fault = found === "empty" ? whyEmpty(completion) : found;
      const likelihood = tokens.length > 0 ? mean(tokens.map(({ logprob }) => logprob)) : 0;
      return { raw, clean, fault, worth: this.#judge(clean.text).worth, likelihood };
    });
    const best = candidates
      .filter(({ fault }) => fault === undefined)
      .sort((x, y) => y.worth - x.worth || y.likelihood - x.likelihood)[0];
    const { raw, clean, fault, worth } = best ?? candidates[0]!;
    const vetoed =
      this.#settings.accept === "no-worse-by-checks" && worth < this.#judge(this.response).worth
        ? "violates more by the checks than the response before it"
        : undefined;
    const rejected = fault ?? vetoed;
    if (rejected === undefined) this.responses.push(clean.text);
    this.#close({
      revision: raw,
      ...(clean.edits.length > 0 ? { edits: [...clean.edits] } : {}),
      ...(rejected === undefined ? {} : { rejected }),
    });
  }

  #close(end: { revision?: string; edits?: string[]; rejected?: string }): void {
    this.rounds.push({ principle: this.principle.id, critique: this.critique ?? "", ...end });
    this.critique = undefined;
    this.#principles.push(this.#principles.shift()!);
  }

  /** What the checks of the whole constitution say of a response of this conversation. */
  #judge(response: string): { passed: boolean; worth: number } {
    const results = runChecks(this.#constitution, { ...this.row, response });
    return { passed: violations(results).violated.length === 0, worth: checkReward(this.#constitution, results) };
  }

  /**
   * What the principle's checks find in the response: the names of those that it violates, the principle's text where the
   * author named none, and how much that weighs, weight × severity of the worst.
   */
  #found(principle: Principle): { broken: string[]; gravity: number } {
    const results = runChecks(principle, { ...this.row, response: this.response });
    const names = principle.checks.map(({ name }) => name ?? principle.text.replace(/[.!?]$/, ""));
    const broken = [...new Set(names.filter((_, i) => results[i]!.violated))];
    return { broken, gravity: principle.weight * violations(results).worst };
  }
}
