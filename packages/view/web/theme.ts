import { useSyncExternalStore } from "react";

/* Light, dark, or as the system has it: kept in this browser. */

export const themes = ["system", "light", "dark"] as const;
export type Theme = (typeof themes)[number];

const changed = new EventTarget();

function stored(): Theme {
  const found = localStorage.getItem("tenet-theme");
  return themes.find((theme) => theme === found) ?? "system";
}

function show(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function startTheme(): void {
  show(stored());
  // Another tab's choice is this one's.
  window.addEventListener("storage", ({ key }) => {
    if (key !== "tenet-theme") return;
    show(stored());
    changed.dispatchEvent(new Event("changed"));
  });
}

export function setTheme(theme: Theme): void {
  localStorage.setItem("tenet-theme", theme);
  show(theme);
  changed.dispatchEvent(new Event("changed"));
}

export function useTheme(): Theme {
  return useSyncExternalStore((listener) => {
    changed.addEventListener("changed", listener);
    return () => changed.removeEventListener("changed", listener);
  }, stored);
}
