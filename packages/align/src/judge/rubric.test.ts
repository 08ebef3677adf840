import { expect, it } from "vitest";
import { constitutionOf } from "../feedback/fixture.ts";
import { rubricOf } from "./rubric.ts";

it("asks of a default with what lifts it, whoever wrote what its scores mean", () => {
  const { principles } = constitutionOf([
    { id: "kind", text: "Be kind." },
    { id: "brief", text: "Be brief.", authority: "user" },
    { id: "graded", text: "Be brief.", authority: "user", rubric: ["1", "2", "3", "4", "5"] },
  ]);
  const brief = "Be brief.\n(unless the person or the system message asks otherwise)";
  expect(principles.map((principle) => rubricOf(principle).criterion)).toEqual(
    ["Be kind.", brief, brief].map((asked) => `Does the response keep to this principle: ${asked}`),
  );
});
