import { useEffect, useRef, useState } from "react";
import type { Constitutions, Queues, Runs } from "../src/api.ts";
import { useGet } from "./data.ts";
import { navigate } from "./route.tsx";

interface Place {
  readonly label: string;
  readonly to: string;
}

const most = 12;

/** Goes anywhere by typing: screens, runs, queues, constitutions, and a row by its id. */
export function Palette({ close }: { close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const { data: runs } = useGet<Runs>("/api/runs", { live: false });
  const { data: queues } = useGet<Queues>("/api/queues", { live: false });
  const { data: constitutions } = useGet<Constitutions>("/api/constitutions", { live: false });
  useEffect(() => dialog.current?.showModal(), []);
  const places: Place[] = [
    ...["runs", "review", "constitutions", "compare", "chat", "launch", "constitutions/votes"].map((path) => ({
      label: path === "launch" ? "new run" : path.replace("constitutions/", ""),
      to: `/${path}`,
    })),
    ...(runs?.runs ?? []).flatMap(({ id, note }) => {
      const name = note.name ? `${note.name} (${id})` : id;
      return [
        { label: name, to: `/runs/${id}` },
        ...["samples", "chains", "pairs", "labels", "training", "monitors", "exports", "log"].map((tab) => ({
          label: `${name} · ${tab}`,
          to: `/runs/${id}/${tab}`,
        })),
      ];
    }),
    ...(queues?.queues ?? []).map(({ id, name }) => ({ label: `queue ${name}`, to: `/review/${id}` })),
    ...(constitutions?.constitutions ?? []).map(({ hash, name, version }) => ({
      label: `constitution ${name} ${version}`,
      to: `/constitutions/${hash.slice(0, 16)}`,
    })),
  ];
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = places.filter(({ label }) => words.every((word) => label.toLowerCase().includes(word))).slice(0, most);
  const id = /^[0-9a-f]{8,64}$/.test(text.trim()) ? text.trim() : undefined;
  const shown = id === undefined ? found : [...found, { label: `row ${id}`, to: `/rows/${id}` }];
  const chosen = Math.min(at, shown.length - 1);
  const go = (place: Place | undefined) => {
    if (!place) return;
    close();
    navigate(place.to);
  };
  return (
    <dialog ref={dialog} onClose={close} aria-label="Go to" className="palette">
      <input
        role="combobox"
        aria-expanded="true"
        aria-controls="palette-places"
        aria-activedescendant={shown.length > 0 ? `palette-${chosen}` : undefined}
        aria-label="Where to"
        placeholder="a screen, a run, a queue, a row's id"
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          setAt(0);
        }}
        onKeyDown={(event) => {
          const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
          if (by !== undefined) setAt(Math.min(shown.length - 1, Math.max(0, chosen + by)));
          else if (event.key === "Enter") go(shown[chosen]);
          else return;
          event.preventDefault();
        }}
      />
      <div role="listbox" id="palette-places" aria-label="Places">
        {shown.map((place, i) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: keys are the field's, which names what is chosen
          <div
            key={place.to}
            id={`palette-${i}`}
            role="option"
            tabIndex={-1}
            aria-selected={i === chosen}
            onClick={() => go(place)}
          >
            {place.label}
          </div>
        ))}
      </div>
      {shown.length === 0 && <p className="muted">Nothing is called so.</p>}
    </dialog>
  );
}
