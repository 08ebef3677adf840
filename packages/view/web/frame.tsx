import { type ReactNode, useEffect, useRef, useState } from "react";
import type { StoreInfo } from "../src/api.ts";
import { readOnly, setWho, useGet, useWho } from "./data.ts";
import { useKeyList, useKeys } from "./keys.tsx";
import { useLiveState } from "./live.ts";
import { Palette } from "./palette.tsx";
import { Link, navigate, useRoute, withSearch } from "./route.tsx";
import { RowDrawer } from "./screens/row.tsx";
import { setTheme, type Theme, themes, useTheme } from "./theme.ts";

const places = [
  ["runs", "Runs"],
  ["review", "Review"],
  ["constitutions", "Constitutions"],
  ["compare", "Compare"],
  ["chat", "Chat"],
  ["launch", "New run"],
] as const;

export function Frame({ children }: { children: ReactNode }) {
  const { path, search } = useRoute();
  const { data: store } = useGet<StoreInfo>("/api/store");
  const [help, setHelp] = useState(false);
  const [palette, setPalette] = useState(false);
  useKeys({
    "Control+k": ["go anywhere by typing", () => setPalette(true)],
    "?": ["these keys", () => setHelp((open) => !open)],
    g: ["go to the runs", () => navigate("/runs")],
    Escape: [
      "close what is open",
      () => (help ? setHelp(false) : navigate(withSearch({ row: undefined }), { replace: true })),
    ],
  });
  const row = search.get("row");
  return (
    <>
      <a className="skip" href="#main">
        To the content
      </a>
      <header className="frame-top">
        <nav aria-label="Tenet">
          <Link to="/runs" className="brand">
            Tenet
          </Link>
          {places.map(([place, label]) => (
            <Link key={place} to={`/${place}`} current={path[0] === place}>
              {label}
            </Link>
          ))}
        </nav>
        <div className="here">
          {store && (
            <span className="store" title={store.folder}>
              {store.folder.split("/").slice(-2).join("/")}
              {readOnly && " · read only"}
            </span>
          )}
          <Dot />
          {!readOnly && <Who />}
          <ThemeChoice />
          <button type="button" className="quiet" onClick={() => setPalette(true)}>
            Go to <kbd>Ctrl K</kbd>
          </button>
          <button type="button" className="quiet" aria-expanded={help} onClick={() => setHelp(!help)}>
            Keys <kbd>?</kbd>
          </button>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {children}
      </main>
      <footer>
        {store && (
          <p>
            Tenet {store.version}. Everything here stays on this machine; a name is written beside what is said, and
            proves nothing.
          </p>
        )}
      </footer>
      {palette && <Palette close={() => setPalette(false)} />}
      {help && <Help close={() => setHelp(false)} />}
      {row !== null && <RowDrawer id={row} />}
    </>
  );
}

function Dot() {
  const state = useLiveState();
  const word = { live: "live", connecting: "connecting", lost: "reconnecting" }[state];
  return (
    <span className={`dot ${state}`} role="status">
      {word}
    </span>
  );
}

function ThemeChoice() {
  const theme = useTheme();
  return (
    <label className="theme">
      Theme{" "}
      <select value={theme} onChange={(event) => setTheme(event.target.value as Theme)}>
        {themes.map((one) => (
          <option key={one}>{one}</option>
        ))}
      </select>
    </label>
  );
}

function Who() {
  const who = useWho();
  const [name, setName] = useState(who);
  return (
    <label className="who">
      I am{" "}
      <input
        value={name}
        placeholder="your name"
        autoComplete="off"
        maxLength={200}
        onChange={(event) => setName(event.target.value)}
        onBlur={() => setWho(name)}
        onKeyDown={(event) => event.key === "Enter" && event.currentTarget.blur()}
      />
    </label>
  );
}

function Help({ close }: { close: () => void }) {
  const keys = useKeyList();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="keys-title">
      <h2 id="keys-title">Keys here</h2>
      <dl className="keys">
        {keys.map(([key, does]) => (
          <div key={key}>
            <dt>
              <kbd>{key === " " ? "Space" : key.replace("Control+k", "Ctrl K")}</kbd>
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
      <button type="button" onClick={close}>
        Close
      </button>
    </dialog>
  );
}
