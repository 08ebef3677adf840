import { requireConversations, textFindings } from "@tenet/lm";
import { endOfReply } from "@tenet/train";
import { endpointSettings } from "../endpoint-identity.ts";
import { modelFingerprint, type PoolOptions, withSource } from "../models.ts";
import type { RoleReference } from "../recipe.ts";
import { modelStage, type Stage, type StageContext } from "../stages/index.ts";
import { type ModelValue, modelValue } from "../values.ts";

/** A model that the recipe names; whether conversations can be given to it, and learnt, is found out before the run begins. */
export function roleStage(
  name: string,
  reference: RoleReference,
  options: PoolOptions,
  { trained = false }: { readonly trained?: boolean } = {},
): Stage<ModelValue> {
  const source = roleSource(reference);
  const open = async ({ store }: Pick<StageContext, "store">) =>
    modelValue(await withSource(source, options), await modelFingerprint(source, options, store.runs()));
  const player = reference;
  if (source.type === "endpoint") return modelStage(name, `the ${name}`, open, { endpoint: source, player });
  const check: Stage["check"] = async ({ models, emit }) => {
    const text = await models.text(source.reference);
    requireConversations(text);
    if (trained) endOfReply(text);
    for (const finding of textFindings(text))
      emit({ type: "message", level: "info", message: `the ${name} ${source.reference}: ${finding}` });
  };
  return modelStage(name, `the ${name}`, open, { check, player });
}

function roleSource(reference: RoleReference): ModelValue["source"] {
  if (typeof reference === "string") return { type: "local", reference };
  if ("endpoint" in reference) return { type: "endpoint", settings: endpointSettings(reference) };
  const { model, adapter } = reference;
  return { type: "local", reference: model, ...(adapter === undefined ? {} : { adapter }) };
}
