import { type ReactNode, useCallback, useSyncExternalStore } from "react";

/*
 * The address is the state: whatever is shown can be sent to somebody else, and a reload shows it again.
 */

const moved = new EventTarget();

export function navigate(to: string, { replace = false } = {}): void {
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  moved.dispatchEvent(new Event("moved"));
}

function subscribe(listener: () => void): () => void {
  window.addEventListener("popstate", listener);
  moved.addEventListener("moved", listener);
  return () => {
    window.removeEventListener("popstate", listener);
    moved.removeEventListener("moved", listener);
  };
}

const address = () => location.pathname + location.search;

/** The parts of the path, and what stands behind the question mark. */
export function useRoute(): { path: string[]; search: URLSearchParams } {
  const now = useSyncExternalStore(subscribe, address);
  const [path = "", search = ""] = now.split("?");
  return {
    path: path
      .split("/")
      .filter((part) => part !== "")
      .map(decodeURIComponent),
    search: new URLSearchParams(search),
  };
}

/** The same place with some parameters otherwise; an empty one is left out. */
export function withSearch(changes: Readonly<Record<string, string | undefined>>): string {
  const search = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined || value === "") search.delete(name);
    else search.set(name, value);
  }
  const text = search.toString();
  return location.pathname + (text === "" ? "" : `?${text}`);
}

/** A parameter of the address and how to change it, which leaves no step to go back to. */
export function useParameter(name: string, standard = ""): [string, (value: string) => void] {
  const { search } = useRoute();
  const set = useCallback(
    (value: string) => navigate(withSearch({ [name]: value === standard ? "" : value }), { replace: true }),
    [name, standard],
  );
  return [search.get(name) ?? standard, set];
}

export function Link({
  to,
  children,
  current,
  className,
  title,
}: {
  to: string;
  children: ReactNode;
  current?: boolean;
  className?: string;
  title?: string;
}) {
  return (
    <a
      href={to}
      className={className}
      title={title}
      aria-current={current ? "page" : undefined}
      onClick={(event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || event.button !== 0) return;
        event.preventDefault();
        navigate(to);
        window.scrollTo(0, 0);
      }}
    >
      {children}
    </a>
  );
}

/** Opens a row in the drawer, on whatever screen one is. */
export function RowLink({ id, children }: { id: string; children?: ReactNode }) {
  return (
    <a
      className="row-id"
      href={withSearch({ row: id })}
      onClick={(event) => {
        if (event.metaKey || event.ctrlKey) return;
        event.preventDefault();
        navigate(withSearch({ row: id }));
      }}
    >
      {children ?? `row ${id}`}
    </a>
  );
}

/** Goes on behind what is shown, from its beginning. */
export function Further({ to, children = "Further on" }: { to: Record<string, string>; children?: ReactNode }) {
  return (
    <p>
      <button
        type="button"
        onClick={() => {
          navigate(withSearch(to));
          window.scrollTo(0, 0);
        }}
      >
        {children}
      </button>
    </p>
  );
}
