import { expect, it } from "vitest";
import { fileAddress, packageIndex, withoutKey } from "./package-index.ts";

const file = "nvidia_thing-1.0+x-py3-none-any.whl";

/** An index that answers every question in one way, and what it was asked. */
function indexOf(body: string, type: string, status = 200) {
  const asked: { address: string; authorization: string | null }[] = [];
  const fetch = async (address: unknown, init: RequestInit = {}) => {
    asked.push({ address: String(address), authorization: new Headers(init.headers).get("authorization") });
    return new Response(body, { status, headers: { "content-type": type } });
  };
  return { asked, fetch: fetch as typeof globalThis.fetch };
}

const json = (files: object[]) => indexOf(JSON.stringify({ files }), "application/vnd.pypi.simple.v1+json");

it("finds a file in an index that answers with JSON, relative addresses too", async () => {
  const index = json([
    { filename: "other.whl", url: "https://files.invalid/other.whl" },
    { filename: file, url: `../../packages/ab/${file}` },
  ]);
  const address = await fileAddress("https://index.invalid/simple/", "nvidia-thing", file, index);
  expect(address).toBe(`https://index.invalid/packages/ab/${file}`);
  expect(index.asked[0]!.address).toBe("https://index.invalid/simple/nvidia-thing/");
});

it("finds a file in an index that answers with HTML, whatever stands around the link", async () => {
  const index = indexOf(
    `<a href="x-${file}">x</a><br><A class='a' data-requires-python="&gt;=3" href='files/nvidia_thing-1.0%2Bx-py3-none-any.whl?a=1&amp;b=2#sha256=00'>x</A>
     <a href="later/${file}">${file}</a>`,
    "text/html; charset=utf-8",
  );
  const address = await fileAddress("https://index.invalid/simple", "nvidia-thing", file, index);
  expect(address).toBe("https://index.invalid/simple/nvidia-thing/files/nvidia_thing-1.0%2Bx-py3-none-any.whl?a=1&b=2");
});

it("says which index lacks what, and never the key in its address", async () => {
  const lacking = fileAddress("https://me:s%20cret@index.invalid/simple", "thing", file, json([]));
  await expect(lacking).rejects.toThrow(`https://index.invalid/simple/thing/: the index has no ${file}`);
  const gone = indexOf("", "text/html", 404);
  await expect(fileAddress("https://me:secret@index.invalid/simple", "thing", file, gone)).rejects.toThrow(
    "https://index.invalid/simple/thing/: status 404",
  );
  expect(gone.asked[0]).toEqual({
    address: "https://index.invalid/simple/thing/",
    authorization: `Basic ${Buffer.from("me:secret").toString("base64")}`,
  });
});

it("takes the index from pip's variable", () => {
  expect(packageIndex({ PIP_INDEX_URL: "https://mirror.invalid/simple" })).toBe("https://mirror.invalid/simple");
  expect(new URL(packageIndex({ PIP_INDEX_URL: "" })).protocol).toBe("https:");
  expect(withoutKey("https://index.invalid/simple")).toEqual({ address: "https://index.invalid/simple", headers: {} });
});
