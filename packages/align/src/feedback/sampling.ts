import { samplingSchema } from "@tenet/lm";
import { z } from "zod";

/** Sampling as a recipe writes it, with the defaults of the stage it is for; what a stage leaves open is `samplingSchema`'s. */
export function samplingFields(defaults: {
  temperature: number;
  maxTokens: number;
  minP?: number;
  topP?: number;
  repetitionPenalty?: number;
}) {
  const { temperature, maxTokens, topP, topK, minP, repetitionPenalty } = samplingSchema.shape;
  const own = samplingSchema.parse(defaults);
  return z
    .strictObject({
      temperature: temperature.unwrap().default(own.temperature).describe("0 is greedy."),
      maxTokens: maxTokens.unwrap().default(own.maxTokens).describe("Tokens of a reply, at most."),
      topP: topP.unwrap().default(own.topP).describe("The smallest set of likeliest tokens with this probability."),
      topK: topK.unwrap().default(own.topK).describe("The k likeliest tokens; 0 is off."),
      minP: minP
        .unwrap()
        .default(own.minP)
        .describe("Tokens at least this times as likely as the likeliest; 0 is off."),
      repetitionPenalty: repetitionPenalty.unwrap().default(own.repetitionPenalty).describe("Above 1 repeats less."),
    })
    .prefault({});
}
