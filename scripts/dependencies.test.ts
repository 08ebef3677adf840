import { existsSync, readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const root = new URL("../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");

type Manifest = Partial<Record<"dependencies" | "devDependencies" | "optionalDependencies", Record<string, string>>>;
type LockEntry = { version?: string; resolved?: string; link?: boolean; optionalDependencies?: Record<string, string> };

const manifests = [
  "package.json",
  ...readdirSync(new URL("packages/", root)).map((name) => `packages/${name}/package.json`),
]
  .filter((path) => existsSync(new URL(path, root)))
  .map((path) => JSON.parse(read(path)) as Manifest);
const declared = manifests.flatMap((manifest) =>
  Object.entries({ ...manifest.dependencies, ...manifest.devDependencies, ...manifest.optionalDependencies }),
);
const lock = JSON.parse(read("package-lock.json")) as { packages: Record<string, LockEntry> };

test("every dependency is pinned to one version", () => {
  expect(declared.filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))).toEqual([]);
});

test("every dependency has its line in docs/dependencies.md, and every line its dependency", () => {
  const lines = [...read("docs/dependencies.md").matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name);
  const external = declared.map(([name]) => name).filter((name) => !name.startsWith("@tenet/"));
  expect(lines.sort()).toEqual([...new Set(external)].sort());
});

test("the lock file names no registry", () => {
  const addresses = Object.values(lock.packages).flatMap(({ resolved }) =>
    resolved?.includes("://") ? [resolved] : [],
  );
  expect(addresses).toEqual([]);
});

// npm leaves out a platform's binary it could not find, and `npm ci` then refuses the lock file.
test("the lock file holds the binaries of every platform", () => {
  const places = Object.keys(lock.packages);
  const absent = Object.entries(lock.packages).flatMap(([place, entry]) =>
    Object.keys(entry.optionalDependencies ?? {})
      .filter((name) => !places.some((other) => other.endsWith(`node_modules/${name}`)))
      .map((name) => `${name}, wanted by ${place}`),
  );
  expect(absent).toEqual([]);
});
