import { useEffect, useState } from "react";
import type { LaunchState, RecipeCheck, RecipeFile, RecipeFiles, RecipeText, StoreInfo } from "../../src/api.ts";
import { post, useAnswer, useGet } from "../data.ts";
import * as format from "../format.ts";
import { Command, Empty, Loading, Scroll } from "../parts.tsx";
import { Link, useParameter } from "../route.tsx";
import { harmless } from "../text.tsx";

/** A recipe as it stands or changed, what running it would take, and the command that does the same. */
export function LaunchScreen() {
  const { data: store } = useGet<StoreInfo>("/api/store");
  if (!store) return <Loading busy={true} what="the store" />;
  return (
    <section>
      <h1>New run</h1>
      {store.launches ? (
        <Launch />
      ) : (
        <Empty>
          <p>This server starts nothing. In a terminal:</p>
          <p>
            <Command>tenet run recipe.yaml</Command>
          </p>
        </Empty>
      )}
    </section>
  );
}

function Launch() {
  const { data, error, busy } = useGet<RecipeFiles>("/api/recipes", { live: false });
  const [recipe, setRecipe] = useParameter("recipe");
  const chosen = data?.recipes.find(({ file }) => file === recipe);
  return (
    <>
      <Loading error={error} busy={busy && !data} what="the recipes" />
      {data?.recipes.length === 0 && (
        <Empty>
          <p>
            No recipe lies beside a run of this store. Make a project, and say where it lies when the dashboard starts:
          </p>
          <p>
            <Command>tenet init my-desk</Command>
          </p>
          <p>
            <Command>tenet view --project my-desk</Command>
          </p>
        </Empty>
      )}
      {data && data.recipes.length > 0 && (
        <p className="tools">
          <label>
            Recipe{" "}
            <select value={recipe} onChange={(event) => setRecipe(event.target.value)}>
              <option value="">choose one</option>
              {data.recipes.map(({ file, name, folder }) => (
                <option key={file} value={file}>
                  {name} in {folder.split("/").slice(-2).join("/")}
                </option>
              ))}
            </select>
          </label>
        </p>
      )}
      {chosen && <Recipe key={chosen.file} recipe={chosen} choose={setRecipe} />}
    </>
  );
}

function Recipe({ recipe, choose }: { recipe: RecipeFile; choose: (file: string) => void }) {
  const { file } = recipe;
  const [stored, setStored] = useState<string>();
  const [text, setText] = useState("");
  const [limit, setLimit] = useState("");
  const [seed, setSeed] = useState("");
  const [name, setName] = useState(recipe.name.replace(/\.ya?ml$/, ".changed.yaml"));
  const [failure, setError] = useState<Error>();
  const [started, setStarted] = useState<string>();
  useEffect(() => {
    post<RecipeText>("/api/recipes/text", { file }, { quiet: true }).then((found) => {
      setStored(found.text);
      setText(found.text);
    }, setError);
  }, [file]);
  const changed = stored !== undefined && text !== stored;
  const numbers = { ...(limit !== "" && { limit: Number(limit) }), ...(seed !== "" && { seed: Number(seed) }) };
  const asked = { file, ...(changed && { text }), ...numbers };
  const answer = useAnswer<RecipeCheck>("/api/recipes/check", stored === undefined ? undefined : asked, 400);
  const check = answer.of === JSON.stringify(asked) ? answer.data : undefined;
  const error = failure ?? answer.error;
  // What was said of a recipe before it was checked again is of the past.
  useEffect(() => {
    if (answer.of !== undefined) setError(undefined);
  }, [answer.of]);
  const save = () =>
    post<RecipeFile>("/api/recipes/save", { file, name, text }).then((made) => choose(made.file), setError);
  const start = () =>
    post<{ run: string }>("/api/launch", { file, ...numbers }).then(({ run }) => setStarted(run), setError);
  const inOrder = check?.problems.length === 0;
  return (
    <div className="try">
      <label>
        {recipe.name}
        <textarea
          rows={22}
          spellCheck={false}
          className="code"
          value={text}
          onChange={(event) => setText(event.target.value)}
        />
      </label>
      <p className="tools">
        <label>
          Prompts at most{" "}
          <input
            type="number"
            min={1}
            value={limit}
            placeholder="all"
            onChange={(event) => setLimit(event.target.value)}
          />
        </label>
        <label>
          Seed{" "}
          <input
            type="number"
            min={0}
            value={seed}
            placeholder="the recipe's"
            onChange={(event) => setSeed(event.target.value)}
          />
        </label>
      </p>
      <Loading error={error} busy={!check && !error} what="the recipe and the files that it names" />
      {check && check.problems.length > 0 && (
        <div className="notice bad" role="alert">
          <ul>
            {check.problems.map(({ message, line }) => (
              <li key={message} className="pre">
                {line !== undefined && <b>line {line}: </b>}
                {harmless(message)}
              </li>
            ))}
          </ul>
        </div>
      )}
      {check && inOrder && <Plan check={check} />}
      {changed ? (
        <p className="tools">
          <label>
            Save as <input value={name} onChange={(event) => setName(event.target.value)} />
          </label>
          <button type="button" disabled={!inOrder} onClick={() => void save()}>
            Save as a new file
          </button>
          <span className="muted">{recipe.name} stays as it is</span>
        </p>
      ) : (
        <p className="tools">
          <button type="button" disabled={!inOrder || started !== undefined} onClick={() => void start()}>
            {check?.begun ? "Continue the run" : "Start the run"}
          </button>
          {check?.command && <Command>{check.command}</Command>}
        </p>
      )}
      {started !== undefined && <Started name={started} run={started} />}
    </div>
  );
}

function Plan({ check: { run, begun, warnings = [], notes = [], estimate } }: { check: RecipeCheck }) {
  if (!estimate) return null;
  const { stages, seconds, untimed, promptTokens, completionTokens, dollars } = estimate;
  const known = seconds > 0 ? format.seconds(seconds) : "";
  return (
    <div role="status">
      <p>
        Run <b>{run}</b>{" "}
        {begun ? (
          <>
            is in the store already: <Link to={`/runs/${run}`}>look at it</Link>. It is continued.
          </>
        ) : (
          "is new."
        )}{" "}
        At most {format.count(promptTokens + completionTokens)} tokens asked of models
        {dollars !== undefined && `, ${format.dollars(dollars)}`}; time{" "}
        {untimed.length === 0
          ? known || "none"
          : known === ""
            ? "not known: this machine has run nothing like it"
            : `${known} and more`}
        .
      </p>
      {warnings.map((warning) => (
        <p key={warning} className="notice warn">
          {harmless(warning)}
        </p>
      ))}
      <details>
        <summary>{stages.length} stages</summary>
        <Scroll label="Stages, as a table">
          <table>
            <tbody>
              {stages.map(({ stage, title, state, rows, seconds: own }) => (
                <tr key={stage}>
                  <th scope="row">{title}</th>
                  <td>{rows > 0 && `${format.count(rows)} rows`}</td>
                  <td>{state === "done" ? "done already" : own === undefined ? "?" : format.seconds(own)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
        {notes.map((note) => (
          <p key={note} className="muted small">
            {harmless(note)}
          </p>
        ))}
      </details>
    </div>
  );
}

/** A process that was started here; it goes on without this page. */
export function Started({ name, run }: { name: string; run?: string }) {
  const { data } = useGet<LaunchState>(`/api/launches/${encodeURIComponent(name)}`);
  if (!data) return null;
  return (
    <div className={`notice ${data.running ? "now" : data.code === 0 ? "" : "bad"}`} role="status">
      <p>
        {data.running
          ? "It is running, and goes on when this page is closed."
          : data.code === 0
            ? "It is done."
            : `It ended with ${data.code ?? "no code: it could not be started, or was killed"}.`}{" "}
        {run !== undefined && (data.begun ? <Link to={`/runs/${run}`}>{run}</Link> : <span>{run}</span>)}
      </p>
      {data.said !== "" && <pre>{harmless(data.said.slice(-2000))}</pre>}
    </div>
  );
}
