import { endpoint } from "../../src/endpoint/endpoint.ts";
import type { EndpointInput } from "../../src/endpoint/settings.ts";
import type { Capabilities } from "../../src/language-model/types.ts";
import { type FakeServer, type Flavour, fakeServer } from "./fake-server.ts";
import { talkative } from "./scripts.ts";
import { conformance } from "./suite.ts";

const full: Capabilities = {
  chat: true,
  raw: true,
  prefill: true,
  topLogprobs: 3,
  score: { raw: "continuations", chat: "options" },
  seed: true,
  topK: true,
  minP: true,
  minTokens: true,
  repetitionPenalty: true,
  streaming: true,
};
const options: Capabilities = { ...full, score: { raw: "options", chat: "options" } };
const hosted = {
  ...options,
  prefill: false,
  seed: false,
  topK: false,
  minP: false,
  minTokens: false,
  repetitionPenalty: false,
};

const subjects: { flavour: Flavour; capabilities: Capabilities; settings?: Partial<EndpointInput> }[] = [
  { flavour: "vllm", capabilities: full },
  { flavour: "llama.cpp", capabilities: { ...options, minTokens: false } },
  { flavour: "openai", capabilities: hosted, settings: { samplesPerCall: "all", model: "fake" } },
  { flavour: "broken-echo", capabilities: options },
];

for (const { flavour, capabilities, settings } of subjects) {
  let server: FakeServer;
  conformance({
    name: `an endpoint that speaks like ${flavour}`,
    async open() {
      server = await fakeServer(talkative, { flavour, nextTokens: flavour === "openai" ? ["A", "B"] : ["A", " B"] });
      return endpoint({ baseUrl: server.url, ...settings });
    },
    shut: () => server.close(),
    capabilities,
    patienceMs: 400,
    ...(settings?.samplesPerCall === "all" && {
      except: { "reports usage that adds up": "samples of one call share its counts; tested beside the endpoint" },
    }),
  });
}
