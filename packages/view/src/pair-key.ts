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
  readonly readings: readonly {
    readonly principle: string;
    /** That a is better, on average over its readings. */
    readonly p: number;
    /** Whether the letter that stood first won both times, or lost both times; absent where one order was read. */
    readonly followsPosition?: boolean;
  }[];
}
