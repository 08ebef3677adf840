import type { Browser, BrowserContext, Page } from "playwright-core";
import { expect } from "vitest";

/** The page's policy lets nobody evaluate texts in it, so that conditions are asked from here. A machine that does much else is slow. */
export const within = { timeout: 30_000 };

export interface Opening {
  readonly width?: number;
  readonly dark?: boolean;
  readonly context?: BrowserContext;
}

/** Looks at a served dashboard in a Chromium, and notes what its pages complain of and whom else they ask. */
export class Visitor {
  readonly complaints: string[] = [];
  readonly foreign: string[] = [];
  readonly #browser: Browser;
  readonly #url: string;

  constructor(browser: Browser, url: string) {
    this.#browser = browser;
    this.#url = url;
  }

  /** A page in a context of its own, unless one is given. */
  async open(path: string, { width = 1280, dark = false, context: given }: Opening = {}): Promise<Page> {
    const viewport = { width, height: 844 };
    const context = given ?? (await this.#browser.newContext({ viewport, colorScheme: dark ? "dark" : "light" }));
    context.setDefaultTimeout(within.timeout);
    const page = await context.newPage();
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) this.complaints.push(`${path}: ${message.text()}`);
    });
    page.on("pageerror", (error) => this.complaints.push(`${path}: ${error.message}`));
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(this.#url) && !url.startsWith("data:")) this.foreign.push(url);
    });
    await this.go(page, path);
    return page;
  }

  async go(page: Page, path: string): Promise<void> {
    await page.goto(this.#url + path);
    await this.settled(page);
  }

  /** The heading is there and nothing says any more that it is read. */
  async settled(page: Page): Promise<void> {
    await page.waitForSelector("main h1, main h2");
    await expect
      .poll(async () => (await page.locator("main").textContent())!.includes("reading the"), within)
      .toBe(false);
  }

  /** Types a name, as people do once. */
  async callMyself(page: Page, name: string): Promise<void> {
    await page.getByPlaceholder("your name").fill(name);
    await page.getByPlaceholder("your name").press("Enter");
  }
}
