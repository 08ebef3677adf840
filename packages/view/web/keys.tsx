import { useEffect, useRef, useSyncExternalStore } from "react";

/*
 * The keys of what is shown. Whatever listens is in the list that "?" opens, so that the list is true.
 */

export type Keys = Readonly<Record<string, readonly [does: string, act: () => void]>>;

const layers: { current: Keys }[] = [];
const changed = new EventTarget();
let version = 0;

function tell(): void {
  version++;
  changed.dispatchEvent(new Event("changed"));
}

/** Keys that work while the caller is shown; those of what came later stand over those of before. */
export function useKeys(keys: Keys): void {
  const layer = useRef(keys);
  layer.current = keys;
  useEffect(() => {
    layers.push(layer);
    tell();
    return () => {
      layers.splice(layers.indexOf(layer), 1);
      tell();
    };
  }, []);
}

export function startKeys(): void {
  document.addEventListener("keydown", (event) => {
    // A key that is held down moves on; it does not say the same of the next pair.
    if (event.repeat && event.key !== "j" && event.key !== "k") return;
    if (event.altKey || event.defaultPrevented) return;
    // Only what is listed stands over what the browser does with these.
    const key = event.ctrlKey || event.metaKey ? `Control+${event.key.toLowerCase()}` : event.key;
    const { target } = event;
    const writes =
      target instanceof HTMLElement && target.matches("input:not([type=checkbox]):not([type=radio]), textarea, select");
    if (writes && key !== "Escape" && !key.startsWith("Control+")) return;
    for (const layer of layers.toReversed()) {
      const found = layer.current[key];
      if (!found) continue;
      event.preventDefault();
      found[1]();
      return;
    }
  });
}

/** Every key that works now, and what it does. */
export function useKeyList(): [key: string, does: string][] {
  useSyncExternalStore(
    (listener) => {
      changed.addEventListener("changed", listener);
      return () => changed.removeEventListener("changed", listener);
    },
    () => version,
  );
  const all = new Map<string, string>();
  for (const layer of layers) for (const [key, [does]] of Object.entries(layer.current)) all.set(key, does);
  return [...all];
}
