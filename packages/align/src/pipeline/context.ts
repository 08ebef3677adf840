import type { PoolOptions } from "./models.ts";
import type { OpenRecipe } from "./open.ts";

/** What parts are made with. */
export interface PartContext extends OpenRecipe {
  readonly options: PoolOptions;
}
