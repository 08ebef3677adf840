import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";
import { gzipSync } from "node:zlib";
import { constitutionHash } from "@tenet/align";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RunPage } from "../src/api.ts";
import { startView } from "../src/index.ts";
import { executable, launch, noBrowser } from "../test/chromium.ts";
import { type ServedStore, serveStore } from "../test/serve.ts";
import { Visitor, within } from "../test/visitor.ts";

if (!executable) console.log(`the dashboard is not tested in a browser: ${noBrowser}`);

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

describe.skipIf(!executable)("the page in a Chromium", () => {
  let served: ServedStore;
  let browser: Browser;
  let visitor: Visitor;

  beforeAll(async () => {
    [served, browser] = await Promise.all([serveStore({ prompts: 30 }), launch()]);
    visitor = new Visitor(browser, served.view.url);
  }, 600_000);
  afterAll(async () => {
    await browser?.close();
    await served?.close();
  });

  const open = (...given: Parameters<Visitor["open"]>) => visitor.open(...given);
  const go = (page: Page, path: string) => visitor.go(page, path);
  const settled = (page: Page) => visitor.settled(page);

  const routes = () => {
    const { done, failed, running } = served.written;
    const [first, second] = done;
    return [
      "/runs",
      `/runs/${first}`,
      `/runs/${running.id}`,
      `/runs/${failed}`,
      ...["samples", "chains", "pairs", "labels", "training", "monitors", "exports", "log"].map(
        (tab) => `/runs/${first}/${tab}`,
      ),
      `/runs/${first}/stages/responses`,
      `/compare?runs=${first},${second}`,
      ...["principles", "settings", "samples", "stages"].map((tab) => `/compare?runs=${first},${second}&tab=${tab}`),
      "/constitutions",
      `/constitutions/${constitutionHash(served.written.constitution)}`,
      "/constitutions/votes",
      "/review",
      "/chat",
      `/chat?run=${first}`,
      "/launch",
      `/reports/${first}`,
      `/runs/${served.written.refused}`,
      `/runs/${served.written.interrupted}`,
      "/runs/none",
      "/nowhere",
    ];
  };

  test("axe finds nothing on any route, light and dark, wide and narrow; nothing scrolls sideways", async () => {
    for (const [width, dark] of [
      [1280, false],
      [390, true],
    ] as const) {
      const page = await open("/runs", { width, dark });
      for (const route of routes()) {
        await go(page, route);
        // The policy lets no script in but the page's own, and a test's through the debugger.
        await page.evaluate(axe);
        const { violations: found } = (await page.evaluate("axe.run()")) as {
          violations: { id: string; nodes: { html: string }[] }[];
        };
        const violations = found.map(({ id, nodes }) => `${id}: ${nodes[0]!.html.slice(0, 160)} (${nodes.length})`);
        expect([route, width, violations]).toEqual([route, width, []]);
        const sideways = Number(await page.evaluate("document.documentElement.scrollWidth - innerWidth"));
        expect([route, width, Math.max(0, sideways)]).toEqual([route, width, 0]);
      }
      await page.context().close();
    }
  }, 1_200_000);

  test("twenty pairs are judged by keys alone, and each is a label", async () => {
    const page = await open("/review");
    const [first] = served.written.done;
    await visitor.callMyself(page, "ann");
    await page.getByLabel("How many").fill("20");
    await page.getByLabel("Pairs of").selectOption(first!);
    await page.getByRole("button", { name: "Make the queue" }).click();
    await page.getByText("0 of 20 judged").waitFor();
    for (const secret of ["fixture/", "SL-CAI", "answers of"]) expect(await page.content()).not.toContain(secret);
    const keys = ["1", "2", "3", "4", "5", "ArrowLeft", "ArrowRight", "b", "s", "1"];
    const begun = performance.now();
    for (let i = 0; i < 20; i++) {
      await page.keyboard.press(keys[i % keys.length]!);
      if (i < 19) await page.getByText(`${i + 1} of 20 judged`).waitFor();
    }
    await page.getByText("Nothing is left for you here: 20 judged").waitFor();
    expect(performance.now() - begun).toBeLessThan(60_000);
    const labels = () => served.written.store.labels().filter(({ who }) => who === "ann");
    expect(labels()).toHaveLength(16);
    await page.keyboard.press("u");
    await page.getByText("19 of 20 judged").waitFor();
    expect(labels()).toHaveLength(15);
    await page.reload();
    await page.getByText("19 of 20 judged").waitFor();
    await page.keyboard.press("2");
    await page.getByText("Nothing is left").waitFor();
    await page.getByRole("link", { name: "results" }).first().click();
    await page.getByRole("rowheader", { name: "ann" }).waitFor();
    await page.context().close();
  }, 600_000);

  test("filters are in the address, survive a reload, and count what they leave", async () => {
    const [first] = served.written.done;
    const page = await open(`/runs/${first}/samples`);
    const regressed = page.getByRole("link", { name: /^Got worse/ });
    await regressed.locator("small").waitFor();
    const count = Number((await regressed.locator("small").textContent())!.trim());
    await regressed.click();
    await page.waitForURL(/show=regressed/);
    await settled(page);
    await expect.poll(() => page.locator("article.sample").count(), within).toBe(count);
    await page.reload();
    await expect.poll(() => page.locator("article.sample").count(), within).toBe(count);
    await page.keyboard.press("j");
    await page.keyboard.press("o");
    await page.getByRole("complementary").getByText("Made from").waitFor();
    expect(page.url()).toContain("row=");
    await page.keyboard.press("Escape");
    await page.waitForURL((url) => !url.search.includes("row="));
    await page.context().close();
  }, 600_000);

  test("from what still breaks to the replies behind the figure, and a verdict marked as wrong, in two clicks; then by keys", async () => {
    const [first] = served.written.done;
    const page = await open(`/runs/${first}`);
    await visitor.callMyself(page, "Dr Jörg Weiß");
    const { verdict } = (await (await page.request.get(`${served.view.url}/api/runs/${first}`)).json()) as RunPage;
    const [worst] = verdict!.breaks;
    await page.locator("ol.breaks h3 a").first().click();
    await page.waitForURL(new RegExp(`principle=${worst!.principle}&by=${verdict!.subject.id}`));
    await settled(page);
    // The figure's own replies, and no others.
    await expect
      .poll(() => page.locator("article.sample").count(), within)
      .toBe(Math.round(worst!.rate.value * worst!.rate.n));
    const current = page.locator("article.sample").first().locator(".reply.current");
    await current.getByRole("button", { name: `that it breaks ${worst!.principle} is wrong` }).click();
    await current.getByText(`Dr Jörg Weiß: does not break ${worst!.principle}`).waitFor();
    const said = () =>
      served.written.store
        .annotations()
        .filter(({ who }) => who === "Dr Jörg Weiß")
        .map(({ kind, value }) => [kind, value]);
    expect(said()).toEqual([["verdict", "keeps"]]);

    await go(page, `/runs/${first}/samples?show=breaks&by=base`);
    await page.locator(".reply.current").first().waitFor();
    await page.keyboard.press("v");
    await page.keyboard.press("f");
    await expect.poll(() => said().length, within).toBe(3);
    await page.locator(".reply.current").getByText("Dr Jörg Weiß: flagged").waitFor();
    await page.keyboard.press("f");
    await expect.poll(() => said().length, within).toBe(2);
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("e");
    const field = page.locator(".reply.current textarea");
    await field.waitFor();
    await expect.poll(() => page.evaluate("document.activeElement.tagName"), within).toBe("TEXTAREA");
    await field.fill("Grüße; sehen Sie einen Arzt. مرحبا");
    await page.getByRole("button", { name: "Save the correction" }).click();
    await expect.poll(() => said().at(-1), within).toEqual(["correction", "Grüße; sehen Sie einen Arzt. مرحبا"]);
    await field.press("Escape");
    await field.waitFor({ state: "detached" });
    await page.context().close();
  }, 600_000);

  test("hostile texts are texts; a check's find is marked", async () => {
    const [first] = served.written.done;
    const page = await open(`/runs/${first}/samples`);
    await page.getByText("<script>document.title = 'taken'</script>").first().waitFor();
    expect(await page.title()).not.toContain("taken");
    expect(await page.locator("main img, main script").count()).toBe(0);
    expect(await page.locator("mark").first().textContent()).toMatch(/^\d+ ?mg$/);
    const text = (await page.locator("main").textContent())!;
    for (const mark of ["\u202e", "\u001b"]) expect(text).not.toContain(mark);
    await page.context().close();
  }, 600_000);

  test("progress moves on by itself; nine tabs live, with one stream", async () => {
    const { running } = served.written;
    const context = await browser.newContext();
    const pages: Page[] = [];
    for (let i = 0; i < 9; i++) pages.push(await open(`/runs/${running.id}`, { context }));
    running.progress({ stage: "responses", done: 23, total: 30, unit: "rows" });
    for (const page of pages) {
      await page.bringToFront();
      await page.getByText("23 of 30 rows").first().waitFor({ timeout: 10_000 });
    }
    await context.close();
  }, 600_000);

  test("every key that is listed does something, and the list opens and closes by keys", async () => {
    const page = await open("/runs");
    await page.keyboard.press("?");
    const dialog = page.getByRole("dialog");
    await dialog.waitFor();
    const keys = await dialog.locator("kbd").allTextContents();
    expect(keys).toEqual(expect.arrayContaining(["j", "k", "o", "x", "/", "?", "g", "Escape"]));
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    await page.keyboard.press("j");
    await page.keyboard.press("x");
    expect(await page.locator("tr.current input").isChecked()).toBe(true);
    await page.keyboard.press("/");
    expect(await page.evaluate("document.activeElement.type")).toBe("search");
    await page.keyboard.press("Escape");
    await page.context().close();
  }, 600_000);

  test("a theme is chosen, kept over a reload, and has every colour of the system's", async () => {
    const page = await open("/runs");
    const colours = () => page.evaluate("getComputedStyle(document.body).backgroundColor");
    const light = await colours();
    await page.getByLabel("Theme").selectOption("dark");
    const dark = await colours();
    expect(dark).not.toBe(light);
    await page.reload();
    await settled(page);
    expect(await colours()).toBe(dark);
    await page.getByLabel("Theme").selectOption("system");
    expect(await colours()).toBe(light);
    await page.context().close();
    const system = await open("/runs", { dark: true });
    expect(await system.evaluate("getComputedStyle(document.body).backgroundColor")).toBe(dark);
    await system.context().close();
  }, 600_000);

  test("anywhere is reached by typing", async () => {
    const [first] = served.written.done;
    const page = await open("/review");
    await page.keyboard.press("Control+k");
    await page.getByRole("combobox", { name: "Where to" }).waitFor();
    await page.getByRole("listbox").getByRole("option").nth(7).waitFor();
    await page.keyboard.type(`${first} monitors`);
    await page.keyboard.press("Enter");
    await page.waitForURL(new RegExp(`/runs/${first}/monitors$`));
    await page.getByRole("heading", { name: "Replies by iteration" }).waitFor();
    await page.context().close();
  }, 600_000);

  test("three runs are chosen and compared; which prompts are shown is in the address", async () => {
    const page = await open("/runs");
    for (const name of await page.getByRole("checkbox", { name: /^choose small-desk|^choose under-way/ }).all())
      await name.check();
    await page.getByRole("link", { name: "Compare the 3 chosen" }).click();
    await page.getByRole("heading", { name: "Measures" }).waitFor();
    const [first, second] = served.written.done;
    await go(page, `/compare?runs=${first},${second}&tab=samples`);
    await page.getByRole("link", { name: "Verdicts differ" }).click();
    await page.waitForURL(/show=different/);
    await page.locator("article.sample").first().waitFor();
    await page.context().close();
  }, 600_000);

  test("a server that is gone is said to be, and the page is current again when it is back", async () => {
    const { store } = served.written;
    const first = await startView({ store, port: 0 });
    const own = new Visitor(browser, first.url);
    const page = await own.open("/runs");
    const state = page.locator(".dot");
    await expect.poll(() => state.textContent(), within).toBe("live");
    await first.close();
    await expect.poll(() => state.textContent(), within).toBe("reconnecting");
    const [run] = served.written.done;
    store.addRunNote({ run: run!, who: "ann", value: { name: "named meanwhile" } });
    const again = await startView({ store, port: Number(new URL(first.url).port) });
    expect(again.url).toBe(first.url);
    await expect.poll(() => state.textContent(), within).toBe("live");
    await page.getByRole("link", { name: "named meanwhile" }).waitFor();
    await page.context().close();
    await again.close();
    store.addRunNote({ run: run!, who: "ann", value: {} });
  }, 600_000);

  test("only this machine's own name is listened on", async () => {
    const port = Number(new URL(served.view.url).port);
    const others = Object.values(networkInterfaces()).flatMap((addresses) =>
      (addresses ?? []).filter(({ internal, family }) => !internal && family === "IPv4").map(({ address }) => address),
    );
    const answers = (host: string) =>
      new Promise<boolean>((resolve) => {
        const socket = connect({ host, port, timeout: 5000 }, () => resolve(true)).on("error", () => resolve(false));
        socket.on("timeout", () => resolve(false));
      });
    expect(await answers("127.0.0.1")).toBe(true);
    for (const other of ["::1", ...others]) expect([other, await answers(other)]).toEqual([other, false]);
  });

  test("at twice the size nothing scrolls sideways, and nothing moves; what differs is copied as a recipe's lines", async () => {
    const [first, second] = served.written.done;
    const page = await open("/runs", { width: 640 });
    await page.emulateMedia({ reducedMotion: "reduce", forcedColors: "active" });
    for (const path of ["/runs", `/runs/${first}`, `/runs/${first}/samples`, `/runs/${first}/monitors`, "/review"]) {
      await go(page, path);
      const sideways = Number(await page.evaluate("document.documentElement.scrollWidth - innerWidth"));
      expect([path, Math.max(0, sideways)]).toEqual([path, 0]);
      expect([path, await page.evaluate("document.getAnimations().length")]).toEqual([path, 0]);
    }
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await go(page, `/compare?runs=${first},${second}&tab=settings`);
    await page.getByRole("button", { name: "Copy as YAML" }).click();
    const lines = () => page.evaluate("navigator.clipboard.readText()");
    await expect.poll(lines, within).toBe("seed: 2\nsupervised:\n  learningRate: 0.0008\n");
    await page.context().close();
  }, 600_000);

  test("the first load is small", async () => {
    const page = await open("/runs");
    const sizes = (await page.evaluate(
      "performance.getEntriesByType('resource').filter(({ name }) => /\\.(js|css)$/.test(name)).map((entry) => entry.decodedBodySize)",
    )) as number[];
    expect(sizes.length).toBeGreaterThan(1);
    // Not compressed: 190 kB compressed is about three times as much.
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(500_000);
    const scripts = (await page.evaluate(
      "performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('.js')).map(({ name }) => name)",
    )) as string[];
    let compressed = 0;
    for (const script of scripts) compressed += gzipSync(await (await page.request.get(script)).body()).length;
    expect(compressed).toBeGreaterThan(0);
    expect(compressed).toBeLessThan(190_000);
    await page.context().close();
  });

  test("nothing complained, and nothing was asked of another machine", () => {
    // What is not there answers 404, which a browser notes.
    expect(visitor.complaints.filter((text) => !text.includes("404"))).toEqual([]);
    expect(visitor.foreign).toEqual([]);
  });
});
