import type { Figure, Message } from "./common.ts";

/* Queues of pairs that people judge. */

export interface QueueLine {
  id: string;
  name: string;
  who: string;
  created: string;
  items: number;
  overlap: number;
  guidelines: string;
  answers: number;
  people: string[];
  /** Items whose answer is known. */
  gold: number;
}

export interface Queues {
  queues: QueueLine[];
}

/** One pair to judge, without anything that says whose replies they are. */
export interface NextItem {
  item?: { row: string; prompt: Message[]; left: string; right: string };
  done: number;
  total: number;
  question: string;
  reasons: string[];
}

export interface Agreement {
  people: {
    who: string;
    answers: number;
    seconds?: number;
    leftShare?: Figure;
    /** Of what others said of the same pairs, how much they said too. */
    agreement?: Figure;
    outcomes: Record<string, number>;
    /** Of the pairs whose answer is known, how many they got right. */
    gold?: Figure;
  }[];
  raw?: Figure;
  alpha?: Figure;
  kappa: { a: string; b: string; kappa?: number; n: number }[];
  /** Against the machine's labels. */
  machine?: Figure;
  /** Items with one answer only: they are in no measure of agreement. */
  single: number;
  disagreements: {
    row: string;
    prompt: Message[];
    a: string;
    b: string;
    answers: { who: string; says: string }[];
    /** Who settled it, and how. */
    settled?: { who: string; says: string; why: string };
  }[];
  labels: number;
  command: string;
}
