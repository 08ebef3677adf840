import { describe, expect, it } from "vitest";
import { assembleScorecard } from "../assemble.ts";
import { evidenceFixture } from "../evidence.fixture.ts";
import { parseScorecard, type Scorecard, scorecardJson } from "../scorecard.ts";
import { breaksOf, subjectOf } from "./first-screen.ts";
import { chainSection, objection, wordDiff } from "./passages.ts";
import { scorecardPage } from "./report.ts";

const card = assembleScorecard(evidenceFixture());
const page = scorecardPage(card);
/** A section of the page by its id. */
const section = (id: string, of = page) => of.split(`<section id="${id}"`)[1]!.split("</section>\n")[0]!;

describe("the page", () => {
  it("has headings that skip no level, and neither a script nor a request", () => {
    const levels = [...page.matchAll(/<h(\d)/g)].map(([, level]) => Number(level));
    expect(levels[0]).toBe(1);
    for (const [i, level] of levels.entries())
      expect(level - (levels[i - 1] ?? 0), `heading ${i}`).toBeLessThanOrEqual(1);
    expect(page).not.toMatch(/<script|<link|<img|src=|url\(|\son\w+=/i);
  });

  it("says on its first screen what still breaks, what does most harm first, with a reply to each", () => {
    const graded: Scorecard = {
      ...card,
      breaks: card.breaks!.map((one) => ({ ...one, severity: one.principle === "kind" ? 1 : 0.1 })),
    };
    const subject = subjectOf(graded);
    const broken = breaksOf(graded, subject);
    expect(broken[0]).toMatchObject({ principle: "kind", example: { checkpoint: subject.id } });
    const harm = broken.map(({ severity, rate }) => severity! * rate.value);
    expect(harm).toEqual(harm.toSorted((a, b) => b - a));
    const first = scorecardPage(graded).split("<main")[0]!;
    expect(first.indexOf("What still breaks")).toBeGreaterThan(0);
    expect(first).toContain(broken[0]!.example!.row);
    expect(first).toContain(broken[0]!.example!.response.slice(-20));
  });

  it("says so where no check objects, and does not call it good", () => {
    const samples = section("samples");
    expect(samples).toMatch(/<li>no check objects, of \d+ that appl/);
    expect(samples).not.toContain("keeps to");
    const clean = { ...card, principles: card.principles.map((one) => ({ ...one, value: 0 })) };
    expect(scorecardPage(clean)).toMatch(/No check objects to any reply of \w+-CAI\. What checks cannot tell/);
  });

  it("tells a check by its name, and shows the pattern to who asks for it", () => {
    const { markup } = objection({
      principle: "doctor",
      check: "advises a clinician",
      why: "nothing in it matches \\b(see|visit)",
    });
    expect(markup).toMatch(
      /breaks doctor<\/b>: fails “advises a clinician” <details class="why">.*<code>nothing in it matches/,
    );
    expect(objection({ principle: "doctor", check: "2 mustNot", why: 'it says "flu"' }).markup).toBe(
      "<b>breaks doctor</b>: its check 2 (mustNot) — it says &quot;flu&quot;",
    );
  });

  it("has a table under every plot", () => {
    const plots = page.match(/<figure class="chart/g)!.length;
    expect(plots).toBeGreaterThan(6);
    expect(page.match(/<details class="values">/g)).toHaveLength(plots);
    expect(section("curves")).toMatch(/Values \(60 of 180, evenly spread\)/);
  });

  it("stands baselines apart, and says what a constant reply says of the checks", () => {
    const apart = section("baselines");
    expect(apart).toMatch(/With demonstrations, untrained, breaks a principle in \d+%.*RL-CAI violates less/);
    expect(apart).toMatch(/One reply to everything breaks no principle in 72 of 72 replies: the checks do not tell/);
    expect(apart).toContain("Bananas fly over the green moon");
    expect(section("measures")).not.toContain("Constant reply");
    const firm = assembleScorecard({
      ...evidenceFixture(),
      baselines: evidenceFixture().baselines!.map((one) => ({
        ...one,
        responses: one.responses.map((response) => ({
          ...response,
          verdicts: response.verdicts.map((verdict) => ({ ...verdict, violated: verdict.applies })),
        })),
      })),
    });
    expect(firm.baselines!.sentences.join(" ")).toMatch(/One reply to everything breaks a principle in 100%/);
    expect(firm.baselines!.sentences.join(" ")).not.toMatch(/do not tell/);
  });

  it("calls no change of a measure that the recipe's limit makes a merit", () => {
    const fallen: Scorecard["differences"][number]["interval"] = [-0.9, -0.7];
    const differences = card.differences.map((one) =>
      one.metric === "unfinished" ? { ...one, value: -0.8, interval: fallen } : one,
    );
    const rowOf = (of: Scorecard) =>
      section("measures", scorecardPage(of))
        .split("<tr>")
        .find((row) => row.includes(">Cut off"))!;
    const cut = rowOf({ ...card, differences });
    expect(cut).toContain("made by the recipe's limit of tokens");
    expect(cut).toContain('class="word">the limit&#39;s');
    const unlimited = card.metrics.map(({ madeByLimit: _, ...metric }) => metric);
    expect(rowOf({ ...card, differences, metrics: unlimited })).toContain('class="word">better');
  });

  it("says whose labels they were and what the preference model is worth", () => {
    const labels = section("labels");
    expect(labels).toContain("31 by the constitution&#39;s checks, 45 by a model, 4 by people");
    expect(labels).toMatch(/Not shown to be better than chance.*tested on 8.*50%.*22–78%/s);
    const { labelHealth: _, ...rest } = card;
    expect(section("labels", scorecardPage({ ...rest, labelHealth: [] }))).toContain("was not audited");
  });

  it("speaks of the checkpoint that is recommended, and tells what passed a gate", () => {
    const sl: Scorecard = {
      ...card,
      recommended: "sl",
      gates: [{ name: "preference model", passed: false, overridden: true, why: "it is at chance" }],
    };
    expect(scorecardPage(sl).split("<main")[0]).toContain("By SL-CAI, by how bad and how often");
    expect(section("labels", scorecardPage(sl))).toMatch(/preference model: <b>did not pass; overridden.*at chance/);
  });

  it("says what a label cost, and from how many on people's would cost more", () => {
    expect(section("costs")).toMatch(
      /800 labels were learnt from.*labeller 642 tokens.*from 25 labels on.*from 3 labels on/s,
    );
    const { labelling, ...rest } = card;
    const { breakEven: _, ...unpriced } = labelling!;
    expect(section("costs", scorecardPage({ ...rest, labelling: unpriced }))).toMatch(
      /not known: give endpoints a price/,
    );
  });

  it("says that there is no independent judge where there is none", () => {
    const { overoptimisation: _, ...rest } = card;
    const alone: Scorecard = { ...rest, independence: { kind: "none", why: "The recipe names no judge." } };
    expect(section("proxy", scorecardPage(alone))).toMatch(/<span class="chip">No independent judge.*names no judge/);
  });

  it("leads to every reply by its row", () => {
    const all = section("samples").split('class="note all"')[1]!;
    for (const { responses } of evidenceFixture().checkpoints)
      for (const { row } of responses) expect(all).toContain(`>${row.id}<`);
    expect(page).toContain('row <span class="hash">chain-prompt-');
  });

  it("is made of a document from before it knew these things", () => {
    const {
      baselines: own,
      breaks: _b,
      replies: _r,
      independence: _i,
      preferenceModel: _p,
      labelsBy: _l,
      ...older
    } = card;
    const ids = new Set(own!.models.map(({ id }) => id));
    const trained = <Row extends { checkpoint: string }>(rows: readonly Row[]) =>
      rows.filter(({ checkpoint }) => !ids.has(checkpoint));
    const document = {
      ...older,
      rows: trained(card.rows),
      principles: trained(card.principles),
      categories: trained(card.categories),
    };
    const read = parseScorecard(scorecardJson(document));
    expect(read).toEqual(document);
    expect(scorecardPage(read)).toContain("What still breaks");
    expect(scorecardPage(read)).not.toContain("Without training");
  });
});

describe("revisions", () => {
  it("keep words with an apostrophe whole", () => {
    const { markup } = wordDiff("I can't tell from here what it is.", "I can tell from here what it is.");
    expect(markup).toContain("<del>can&#39;t</del> <ins>can</ins> tell from here");
  });

  it("stand before and after where less than a third was kept", () => {
    const { markup } = wordDiff(
      "Take two of the blue pills now.",
      "I'm sorry that you are unwell; please see a doctor.",
    );
    expect(markup).toMatch(/Before.*Take two.*After.*sorry/s);
    expect(markup).not.toContain("<del>");
  });

  it("are shown where they were not taken", () => {
    const { markup } = chainSection(
      {
        row: "f00d",
        prompt: [{ role: "user", content: "It hurts." }],
        responses: ["So what."],
        rounds: [{ principle: "kind", critique: "Unkind.", revision: "Go away.", rejected: "it breaks more checks" }],
      },
      true,
    );
    expect(markup).toMatch(/Kept as it was: it breaks more checks.*not taken<\/summary>.*Go away\..*f00d/s);
  });
});
