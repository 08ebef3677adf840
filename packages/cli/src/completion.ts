import type { Command, Option } from "commander";

/*
 * What a shell offers when Tab is pressed, made of the commands as they are: none is forgotten and none is offered that is gone.
 */

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

interface Known {
  /** Names from the program down: "" for the program itself, "models pull". */
  readonly path: string;
  readonly about: string;
  readonly commands: readonly { readonly name: string; readonly about: string }[];
  readonly options: readonly Option[];
}

/** A script for a shell to read. It offers commands and options, values where these are listed, and files elsewhere. */
export function completionScript(program: Command, shell: Shell): string {
  const known = commandsOf(program, "");
  return { bash, zsh, fish }[shell](known);
}

function commandsOf(command: Command, path: string): Known[] {
  const inner = command.commands.flatMap((one) => commandsOf(one, `${path} ${one.name()}`.trim()));
  const own = command.commands.map((one) => ({ name: one.name(), about: one.description() }));
  const { visibleOptions } = { visibleOptions: command.createHelp().visibleOptions(command) };
  return [{ path, about: command.description(), commands: own, options: visibleOptions }, ...inner];
}

const flags = ({ short, long }: Option) => [short, long].filter((flag) => flag !== undefined);
const words = ({ commands, options }: Known) => [...commands.map(({ name }) => name), ...options.flatMap(flags)];
const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

/** Which command is meant: its names stand first, before any option. */
function bash(known: readonly Known[]): string {
  const nested = known.filter(({ path, commands }) => path !== "" && commands.length > 0).map(({ path }) => path);
  const values = known.flatMap(({ path, options }) =>
    options.flatMap((option) =>
      (option.argChoices ?? []).length === 0
        ? []
        : [
            `    ${flags(option)
              .map((flag) => quoted(`${path} ${flag}`))
              .join("|")}) words=${quoted(option.argChoices!.join(" "))} ;;`,
          ],
    ),
  );
  return `# tenet completion bash > ~/.local/share/bash-completion/completions/tenet
_tenet() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} path= words=
  if [[ $COMP_CWORD -gt 1 ]]; then path=\${COMP_WORDS[1]}; fi
  case "$path" in
    ${nested.join("|") || "-"}) if [[ $COMP_CWORD -gt 2 ]]; then path="$path \${COMP_WORDS[2]}"; fi ;;
  esac
  case "$path $previous" in
${values.join("\n")}
  esac
  if [[ -z $words ]]; then
    case "$path" in
${known.map((one) => `      ${quoted(one.path)}) words=${quoted(words(one).join(" "))} ;;`).join("\n")}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _tenet tenet
`;
}

/** zsh reads bash's completions when it is told to. */
function zsh(known: readonly Known[]): string {
  return `# tenet completion zsh >> ~/.zshrc
autoload -U +X bashcompinit && bashcompinit
${bash(known).split("\n").slice(1).join("\n")}`;
}

function fish(known: readonly Known[]): string {
  const lines = known.flatMap(({ path, commands, options }) => {
    const names = path.split(" ").filter(Boolean);
    const inner = commands.map(({ name }) => name);
    const here = [
      ...names.map((name) => `__fish_seen_subcommand_from ${name}`),
      ...(inner.length > 0 ? [`not __fish_seen_subcommand_from ${inner.join(" ")}`] : []),
    ].join("; and ");
    const when = here === "" ? "" : ` -n ${quoted(here)}`;
    return [
      ...commands.map(({ name, about }) => `complete -c tenet -f${when} -a ${name} -d ${quoted(about)}`),
      ...options.map(({ short, long, description, required, optional, argChoices = [] }) =>
        [
          `complete -c tenet${when}`,
          ...(short ? [`-s ${short.slice(1)}`] : []),
          ...(long ? [`-l ${long.slice(2)}`] : []),
          ...(required || optional ? ["-r"] : []),
          ...(argChoices.length > 0 ? [`-f -a ${quoted(argChoices.join(" "))}`] : []),
          `-d ${quoted(description)}`,
        ].join(" "),
      ),
    ];
  });
  return `# tenet completion fish > ~/.config/fish/completions/tenet.fish\n${lines.join("\n")}\n`;
}
