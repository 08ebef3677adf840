/** What a pair is found by. */
export interface PairKey {
  readonly ordinal: number;
  /** Which of the rows that its input became. */
  readonly nth: number;
  readonly row: string;
  readonly pair: string;
  readonly label: string;
  readonly p: number;
  /** How far the readings of a principle lie apart in the two orders, at most. */
  readonly spread: number;
  readonly principles: readonly string[];
}
