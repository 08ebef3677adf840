// Takes the pictures of docs/view.md, of a store of invented runs: npx tsx --conditions=source scripts/view-pictures.ts
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { launch } from "../packages/view/test/chromium.ts";
import { serveStore } from "../packages/view/test/serve.ts";

const folder = fileURLToPath(new URL("../docs/pictures", import.meta.url));
mkdirSync(folder, { recursive: true });
const served = await serveStore({ prompts: 60 });
const browser = await launch();
try {
  const [first] = served.written.done;
  const page = await browser.newPage({ viewport: { width: 1100, height: 720 } });
  const pictures = {
    run: `/runs/${first}`,
    replies: `/runs/${first}/samples?show=fixed&q=throat`,
    pairs: `/runs/${first}/pairs?sort=position`,
  };
  for (const [name, path] of Object.entries(pictures)) {
    await page.goto(served.view.url + path);
    await page.waitForSelector("main h2");
    await page.waitForLoadState("networkidle").catch(() => {});
    await page.waitForTimeout(1500);
    const file = join(folder, `${name}.png`);
    await page.screenshot({ path: file });
    console.log(`${file}: ${statSync(file).size} bytes`);
  }
} finally {
  await browser.close();
  await served.close();
}
