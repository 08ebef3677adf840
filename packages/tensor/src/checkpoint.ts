/** A stretch of a graph whose intermediate values are computed again for the backward pass instead of kept. */
export interface Block {
  readonly id: number;
}

let open: Block | undefined;
let nextBlock = 0;

export function currentBlock(): Block | undefined {
  return open;
}

/**
 * Activation checkpointing: what `build` makes is a block. Its outputs are kept; what `grad` needs of its inside is
 * recomputed once the backward pass reaches it. Gradients are unchanged. A block inside a block belongs to the outer one.
 * Source: Training Deep Nets with Sublinear Memory Cost (arXiv 1604.06174).
 */
export function checkpoint<T>(build: () => T): T {
  if (open) return build();
  open = { id: nextBlock++ };
  try {
    return build();
  } finally {
    open = undefined;
  }
}
