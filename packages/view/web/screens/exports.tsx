import { useState } from "react";
import type { Exports, StoreInfo } from "../../src/api.ts";
import { post, useGet } from "../data.ts";
import { Command, Loading } from "../parts.tsx";
import { Started } from "./launch.tsx";

const words: Readonly<Record<string, string>> = {
  adapter: "the LoRA adapter, in PEFT's format",
  merged: "whole weights with the adapter in them",
  gguf: "whole weights as GGUF, for llama.cpp and Ollama",
  "gguf-adapter": "the adapter as GGUF",
  onnx: "an ONNX graph, for transformers.js",
  datasets: "what was learnt from, as dataset folders",
  evidence: "everything that the figures rest on, with hashes",
  card: "the model card",
};

/** What a run made, to be taken elsewhere. */
export function ExportsScreen({ run }: { run: string }) {
  const { data: store } = useGet<StoreInfo>("/api/store");
  const { data, error, busy } = useGet<Exports>(`/api/runs/${run}/exports`, { live: false });
  const [parts, setParts] = useState<readonly string[]>(["adapter", "datasets", "card"]);
  const [checkpoint, setCheckpoint] = useState("");
  const [fault, setFault] = useState<Error>();
  const [started, setStarted] = useState<{ name: string; folder: string }>();
  const start = () =>
    post<{ name: string; folder: string }>(`/api/runs/${run}/exports`, {
      parts,
      ...(checkpoint !== "" && { checkpoint }),
    }).then(setStarted, setFault);
  const command = `tenet export ${run} exported --what ${parts.join(",")}${checkpoint === "" ? "" : ` --checkpoint ${checkpoint}`}`;
  return (
    <>
      <h2>Exports</h2>
      <Loading error={error ?? fault} busy={busy && !data} what="what can be exported" />
      {data && (
        <>
          <ul className="plain">
            {data.parts.map(({ part }) => (
              <li key={part}>
                <label>
                  <input
                    type="checkbox"
                    checked={parts.includes(part)}
                    onChange={(event) =>
                      setParts(
                        data.parts
                          .map((one) => one.part)
                          .filter((one) => (one === part ? event.target.checked : parts.includes(one))),
                      )
                    }
                  />{" "}
                  {part} <span className="muted">{words[part]}</span>
                </label>
              </li>
            ))}
          </ul>
          <p className="tools">
            <label>
              Checkpoint{" "}
              <select value={checkpoint} onChange={(event) => setCheckpoint(event.target.value)}>
                <option value="">the one that the scorecard recommends, else the last</option>
                {data.checkpoints.map(({ id, label }) => (
                  <option key={id} value={id}>
                    {label}
                  </option>
                ))}
              </select>
            </label>
          </p>
          <p className="tools">
            {store?.launches && (
              <button type="button" disabled={parts.length === 0} onClick={() => void start()}>
                Export into the store's folder
              </button>
            )}
            {parts.length > 0 && <Command>{command}</Command>}
          </p>
          {started && (
            <>
              <p>
                Into <code>{started.folder}</code>
              </p>
              <Started name={started.name} />
            </>
          )}
        </>
      )}
      <h3>As files, at once</h3>
      <ul>
        <li>
          <a href={`/reports/${run}`}>the report as one page</a>
        </li>
        <li>
          <a href={`/api/runs/${run}/samples.jsonl`}>replies to held-out prompts with verdicts</a>
        </li>
        <li>
          corrections as <a href={`/api/runs/${run}/corrections.jsonl?as=examples`}>examples</a> or{" "}
          <a href={`/api/runs/${run}/corrections.jsonl?as=preferences`}>preferences</a>
        </li>
        <li>
          <a href={`/api/runs/${run}/votes.jsonl`}>blind votes of the chat, as preferences</a>
        </li>
      </ul>
    </>
  );
}
