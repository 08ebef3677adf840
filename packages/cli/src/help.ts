import type { Command } from "commander";

/** The commands by what somebody is about to do, in the order in which one comes to them. */
const groups: readonly (readonly [heading: string, commands: readonly string[]])[] = [
  ["Begin:", ["init", "advise", "validate", "constitution", "check", "prompts"]],
  ["Run:", ["run", "label", "audit", "eval", "ablate"]],
  ["Look:", ["ls", "show", "watch", "report", "diff", "view"]],
  ["Talk:", ["chat", "serve"]],
  ["Keep:", ["export", "verify", "rm", "gc"]],
  ["This machine:", ["models", "devices", "doctor", "engine", "completion"]],
];

/** Every command, as it is called. */
export const commandNames: readonly string[] = groups.flatMap(([, names]) => names);

const examples: Readonly<Record<string, readonly string[]>> = {
  init: ["init my-policy", "init my-policy --preset clinical-desk"],
  advise: [
    "advise --goal balanced --complexity medium --compute low --constitution mixed",
    "advise my-policy/recipe.yaml --goal strict --complexity high --compute medium --write my-policy/advised.yaml",
  ],
  validate: [
    "validate my-policy/recipe.yaml",
    "validate my-policy/constitution.yaml",
    "validate my-policy/recipe.yaml --json",
  ],
  run: [
    "run my-policy/recipe.yaml --dry-run",
    "run my-policy/recipe.yaml --limit 8",
    "run my-policy/recipe.yaml --quiet",
  ],
  label: ["label latest --who ann", "label latest --who ann --export pairs.csv", "label latest --results"],
  ls: ["ls", "ls --store elsewhere/runs", "ls --json"],
  show: ["show latest", "show latest chains --where principle=no-dose --rows 20", "show latest labels --aside"],
  report: ["report latest", "report latest --json"],
  export: ["export latest model", "export latest model --what merged --dtype F16"],
  chat: ['chat "Hello"', "chat --run latest", 'chat --run latest --compare base,sl,rl "a question"'],
};

/** Puts the commands in order and under headings, and gives those that people begin with examples. */
export function describeCommands(program: Command): void {
  const place = (command: Command) => {
    const at = commandNames.indexOf(command.name());
    return at < 0 ? commandNames.length : at;
  };
  // Commander lists them as they were registered, and has no other way to say it.
  (program.commands as Command[]).sort((a, b) => place(a) - place(b));
  for (const command of program.commands) {
    const heading = groups.find(([, names]) => names.includes(command.name()))?.[0];
    if (heading) command.helpGroup(heading);
    const shown = examples[command.name()];
    if (shown) command.addHelpText("after", `\nExamples:\n${shown.map((one) => `  tenet ${one}\n`).join("")}`);
  }
}
