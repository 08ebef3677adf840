import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const docs = new URL("../docs/", import.meta.url);
const pages = readdirSync(docs).filter((name) => name.endsWith(".md"));
const read = (name: string) => readFileSync(new URL(name, docs), "utf8");
/** Without code, in which brackets are no links. */
const prose = (text: string) => text.replaceAll(/^```[\s\S]*?^```/gm, "").replaceAll(/`[^`\n]*`/g, "code");

/** Where a page's headings can be linked to, as GitHub makes it. */
function anchors(text: string): string[] {
  const headings = text.replaceAll(/^```[\s\S]*?^```/gm, "").matchAll(/^#+ (.*)$/gm);
  return [...headings].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

describe("documentation", () => {
  it("lists every page in its index", () => {
    const listed = [...read("README.md").matchAll(/\]\(([\w-]+\.md)\)/g)].map(([, name]) => name!);
    expect([...listed, "README.md"].sort()).toEqual([...pages].sort());
  });

  it.each(pages)("%s links to what is there", (page) => {
    const links = [...prose(read(page)).matchAll(/\]\(([^()\s]+)\)/g)].map(([, link]) => link!);
    const broken = links.filter((link) => {
      if (/^https?:/.test(link)) return false;
      const [path, anchor] = link.split("#") as [string, string | undefined];
      if (path !== "" && !existsSync(new URL(path, docs))) return true;
      return anchor !== undefined && !anchors(read(path === "" ? page : path)).includes(anchor);
    });
    expect(broken).toEqual([]);
  });
});
