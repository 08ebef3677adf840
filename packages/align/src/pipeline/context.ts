import type { PoolOptions } from "./models.ts";
import type { OpenRecipe } from "./open.ts";

/*
 * parts/ has what arrangements are made of: each file turns what a recipe says about one step into stages. Parts hold no order; who
 * comes after whom is the arrangement's business.
 */

/** What parts are made with. */
export interface PartContext extends OpenRecipe {
  readonly options: PoolOptions;
}
