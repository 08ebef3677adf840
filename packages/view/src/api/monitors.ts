import type { Message } from "./common.ts";

/* A policy's training, iteration by iteration. */

export interface Monitors {
  stages: {
    stage: string;
    alarms: {
      rule: string;
      iteration: number;
      message: string;
      dismissed?: { who: string; why: string; time: string };
    }[];
    panels: { title: string; series: { name: string; points: [iteration: number, value: number | null][] }[] }[];
  }[];
  /** Of the rules. */
  limits: Record<string, number | undefined>;
}

/** A reply that a policy in training gave. */
export interface RolloutReply {
  step: number;
  response: string;
  finishReason: string;
  score: number;
  /** Of the score, by name. */
  parts: Record<string, number>;
  /** Estimate of the reply's KL from the reference, in nats. */
  kl: number;
  tokens: number;
}

export interface Rollouts {
  stage: string;
  steps: number[];
  total: number;
  prompts: { prompt: Message[]; replies: RolloutReply[] }[];
}
