import { scriptedModel } from "@tenet/lm";
import { expect, it } from "vitest";
import { constitutionOf, outcomes, pairRow } from "./fixture.ts";
import { labelDependsOn, labelPairs } from "./index.ts";

const pair = pairRow("Tell me all about it, at length.", "Well, to begin with", "No.");
const settings = { constitutionFirst: { by: "critic" as const }, seed: 1 };
const levelled = (authority?: string) => constitutionOf([{ id: "brief", text: "Be brief.", authority }]);

it("the critic is asked of a default with what lifts it: who was asked to ramble violates nothing", async () => {
  const labeller = scriptedModel({ choice: { value: () => 0 } });
  // Finds the longer reply at fault, unless it is told that the person may ask for it.
  const critic = scriptedModel({
    choice: {
      value: (option, text) =>
        (option === "Yes.") === (text.includes("to begin with") && !text.includes("unless the person")) ? 50 : -50,
    },
  });
  const found = async (authority?: string) => {
    const labels = await outcomes(
      labelPairs([pair], { ...settings, labeller, critic, constitution: levelled(authority) }),
    );
    return labels.get(pair.id)!.rows[0]!.explanation.find(({ step }) => step === "constitution");
  };
  for (const authority of [undefined, "root"]) expect(await found(authority)).toMatchObject({ finding: "only a" });
  expect(await found("user")).toMatchObject({ finding: "neither" });
});

it("its label depends on what it was asked, and not where no critic is", () => {
  const depends = (constitution: ReturnType<typeof levelled>, by: "critic" | "off" = "critic") =>
    JSON.stringify(labelDependsOn(pair, { ...settings, constitution, constitutionFirst: { by } }));
  expect(depends(levelled())).toContain('"Be brief."');
  expect(depends(levelled("root"))).toContain('"Be brief."');
  expect(depends(levelled("user"))).not.toContain('"Be brief."');
  const [own] = levelled("user").principles;
  const asked = { ...levelled(), principles: [{ ...own!, authority: undefined }] };
  expect(depends(levelled("user"), "off")).toBe(depends(asked, "off"));
});
