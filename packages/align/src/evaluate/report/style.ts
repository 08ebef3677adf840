/** Colours and letters, in light and dark: of this page, and of the dashboard's. */
export const tokens = `
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --raised: #ffffff; --ink: #1f1e1b; --muted: #67645c; --line: #e5e1d8; --faint: #f2efe8;
  --good: #1d6f4f; --good-bg: #e4f2ea; --bad: #a5322a; --bad-bg: #fae8e5; --warn: #8a5a00; --warn-bg: #f8eed9;
  --s0: #736f68; --s1: #9c5f10; --s2: #12657d; --s3: #7a4a9c; --s4: #3d7a35; --s5: #b0416f;
  --t0: #43559f; --t1: #a8562f; --t2: #57803a; --t3: #8a8680;
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, "Source Serif 4", Charter, "Noto Serif", Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
  --mono: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #151513; --raised: #1d1d1a; --ink: #ebe9e3; --muted: #a29e94; --line: #34322d; --faint: #23221f;
    --good: #7cc8a0; --good-bg: #1b2f26; --bad: #ef968b; --bad-bg: #3a201d; --warn: #e0b66a; --warn-bg: #33291a;
    --s0: #9b978e; --s1: #e0a04c; --s2: #5fb7d0; --s3: #bd94dc; --s4: #8bc682; --s5: #ea8fb4;
    --t0: #98a8f0; --t1: #e39a72; --t2: #a3cc84; --t3: #9b978e;
  }
}
`;

/** The page's style sheet. Its hash stands in the page's content security policy, which allows no other. */
export const styleSheet = `${tokens}* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 var(--sans); }
main, body > header, body > footer { max-width: 1080px; margin: 0 auto; padding: 0 28px; }
a { color: inherit; text-decoration-color: var(--muted); text-underline-offset: 3px; }
:focus-visible { outline: 2px solid var(--s2); outline-offset: 3px; border-radius: 3px; }
.skip { position: absolute; left: -999px; }
.skip:focus { left: 16px; top: 12px; background: var(--raised); padding: 8px 12px; z-index: 1; }
h1, h2, .lede { font-family: var(--serif); font-weight: 600; letter-spacing: -.01em; text-wrap: balance; }
h1 { font-size: clamp(30px, 5vw, 46px); line-height: 1.12; margin: 6px 0 0; }
h2 { font-size: 26px; line-height: 1.2; margin: 0 0 6px; }
h3 { font-size: 16px; margin: 0; }
p { margin: 0 0 10px; text-wrap: pretty; }
main > section { padding: 44px 0 0; margin-top: 44px; border-top: 1px solid var(--line); }
main > section:first-child { border-top: 0; margin-top: 0; }
.fold { display: none; }
.back { font-size: 13.5px; margin: 22px 0 0; } .back a { color: var(--muted); }
.intro { color: var(--muted); max-width: 68ch; margin-bottom: 22px; }
body > header { padding-top: 56px; }
.overline { font-size: 13px; color: var(--muted); margin: 0; }
.overline span + span::before { content: "·"; margin: 0 .55em; }
nav { position: sticky; top: 0; z-index: 2; margin: 30px 0 0; background: var(--paper); border-bottom: 1px solid var(--line); font-size: 14px; }
nav ul { display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; max-width: 1080px; margin: 0 auto; padding: 9px 28px; }
:target { scroll-margin-top: 56px; }
nav a { color: var(--muted); text-decoration: none; }
nav a:hover { color: var(--ink); text-decoration: underline; }
code, .hash { font-family: var(--mono); font-size: .86em; overflow-wrap: anywhere; }
.num, td, .value { font-variant-numeric: tabular-nums; }
/* verdict */
.verdict { display: grid; grid-template-columns: minmax(0, 1.08fr) minmax(0, 1fr); gap: 44px; margin-top: 34px; align-items: start; }
.lede { font-size: 23px; line-height: 1.36; font-weight: 500; margin: 12px 0 16px; text-wrap: pretty; }
.verdict ul { margin: 0; padding: 0; list-style: none; color: var(--muted); font-size: 15px; }
.verdict li { padding: 7px 0; border-top: 1px solid var(--line); }
.chip { display: inline-block; font-size: 13px; font-weight: 600; padding: 3px 11px; border-radius: 99px; background: var(--faint); color: var(--muted); }
.chip.good { background: var(--good-bg); color: var(--good); }
.chip.bad { background: var(--bad-bg); color: var(--bad); }
.chip.warn { background: var(--warn-bg); color: var(--warn); }
.panel { background: var(--raised); border: 1px solid var(--line); border-radius: 12px; padding: 20px 22px; }
.panel h3 + p { color: var(--muted); font-size: 14px; margin: 2px 0 14px; }
h2.small { font: 600 16px var(--sans); letter-spacing: 0; margin: 0; }
.panel h2.small + p { color: var(--muted); font-size: 14px; margin: 2px 0 14px; }
.openings { font-size: 14px; color: var(--muted); margin: 14px 0 0; } .openings b { color: var(--ink); }
/* what still breaks */
.breaks { margin-top: 38px; }
.breaks ol { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 280px), 1fr)); gap: 16px; list-style: none; margin: 0; padding: 0; }
.breaks .panel { padding: 16px 18px; min-width: 0; }
.breaks .what { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 2px 12px; align-items: baseline; }
.breaks .rate { margin: 0; } .breaks .rate b { color: var(--bad); font-size: 18px; }
.breaks small { color: var(--muted); font-size: 12.5px; margin-left: 6px; }
.breaks .principle-text { color: var(--muted); font-size: 13.5px; }
.breaks .asked .passage { font-family: var(--serif); font-size: 16px; }
.breaks .verdicts, .breaks .rest { font-size: 13.5px; color: var(--muted); }
.breaks .rest { margin-top: 12px; }
.sentences { margin: 0 0 18px; padding-left: 20px; } .sentences li { margin-bottom: 6px; }
/* interval bars */
.bars { display: grid; grid-template-columns: max-content minmax(0, 1fr) minmax(112px, max-content); gap: 0 14px; align-items: center; }
.bars .row { display: contents; }
.bars .label { font-size: 14px; }
.bars .value { font-size: 14px; text-align: right; white-space: nowrap; }
.bars .value b { font-size: 16px; }
.bars .value small { color: var(--muted); margin-left: 6px; font-size: 12.5px; }
.hero .bars { row-gap: 14px; grid-template-columns: max-content minmax(0, 1fr) max-content; }
.hero .bars .label { font-weight: 600; font-size: 15px; }
.hero .bars .value b { font-size: 24px; font-family: var(--serif); font-weight: 600; }
.hero .bars .value small { display: block; margin: -4px 0 0; }
svg { display: block; width: 100%; overflow: visible; }
svg.bar { height: 22px; }
svg.axis { height: 17px; }
svg text { font: 12px var(--sans); fill: var(--muted); font-variant-numeric: tabular-nums; }
.bars .axis { grid-column: 2; }
.grid { stroke: var(--line); stroke-width: 1; }
.reference { stroke: var(--muted); stroke-width: 1; stroke-dasharray: 3 3; }
.s0 { --c: var(--s0); } .s1 { --c: var(--s1); } .s2 { --c: var(--s2); } .s3 { --c: var(--s3); } .s4 { --c: var(--s4); } .s5 { --c: var(--s5); }
.t0 { --c: var(--t0); } .t1 { --c: var(--t1); } .t2 { --c: var(--t2); } .t3 { --c: var(--t3); }
.interval { fill: var(--c); opacity: .32; }
.dot { fill: var(--c); stroke: var(--raised); stroke-width: 1.5; }
.key::before { content: ""; display: inline-block; width: 9px; height: 9px; border-radius: 99px; background: var(--c); margin-right: 8px; }
/* tables */
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 15px; }
caption { text-align: left; color: var(--muted); font-size: 14px; padding-bottom: 8px; }
th { text-align: left; font-weight: 600; }
thead th { font-size: 13px; color: var(--muted); border-bottom: 1px solid var(--ink); padding: 6px 14px 6px 0; vertical-align: bottom; }
tbody th, td { border-bottom: 1px solid var(--line); padding: 9px 14px 9px 0; vertical-align: top; }
tbody th { font-weight: 500; }
td small, tbody th small { display: block; color: var(--muted); font-size: 12.5px; font-weight: 400; white-space: nowrap; }
tbody th small { white-space: normal; }
td.good, .good b { color: var(--good); } td.bad, .bad b { color: var(--bad); }
td .word { font-size: 12.5px; color: var(--muted); }
td.good .word, td.bad .word { color: inherit; font-weight: 600; }
.right { text-align: right; padding-right: 0; padding-left: 14px; }
dl.about { display: grid; grid-template-columns: max-content 1fr; gap: 6px 18px; font-size: 14px; margin: 12px 0 0; }
dl.about dt { font-weight: 600; } dl.about dd { margin: 0; color: var(--muted); }
details > summary { cursor: pointer; font-size: 14px; color: var(--muted); }
details > summary:hover { color: var(--ink); }
.note { margin-top: 18px; }
/* principles */
.principles { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); gap: 30px 44px; }
.principles p { font-size: 14px; color: var(--muted); margin: 2px 0 8px; }
/* charts */
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 36px 40px; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: 14px; margin-bottom: 14px; }
figcaption .stage { color: var(--muted); font-size: 13px; margin-left: 4px; }
figcaption .unit { display: block; color: var(--muted); font-size: 13px; }
svg.plot { height: 190px; border-bottom: 1px solid var(--muted); }
.square { max-width: 300px; }
.square svg.plot { height: 250px; }
.chart .plot, .chart .axis, .below { margin-left: 38px; width: calc(100% - 38px); }
.chart .axis { margin-top: 4px; }
.line, .raw, .join { fill: none; stroke: var(--c, var(--muted)); vector-effect: non-scaling-stroke; stroke-linejoin: round; }
.line { stroke-width: 2; } .raw { stroke-width: 1; opacity: .32; } .join { stroke-width: 1; stroke-dasharray: 4 4; }
.point { fill: var(--c); }
.hover { opacity: 0; } .hover:hover { opacity: .9; }
.o0 { opacity: .22; } .o1 { opacity: .38; } .o2 { opacity: .54; } .o3 { opacity: .72; } .o4 { opacity: .95; }
.whisker { stroke: var(--c); stroke-width: 2; opacity: .55; }
svg .name { fill: var(--ink); font-weight: 600; }
.below { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 2px 16px; font-size: 13px; color: var(--muted); }
.legend { display: flex; gap: 14px; list-style: none; margin: 0; padding: 0; }
.legend li::before { content: ""; display: inline-block; width: 14px; height: 3px; border-radius: 2px; background: var(--c); margin-right: 6px; vertical-align: middle; }
.values { margin-top: 6px; } .values > summary { font-size: 13px; }
.values .scroll { max-height: 260px; overflow: auto; } .values table { font-size: 13px; } .values td, .values tbody th { padding: 3px 14px 3px 0; }
.empty { color: var(--muted); font-style: italic; }
/* text by people and models */
.passage { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; font-size: 15px; margin: 0 0 8px; }
.passage .cut, .kept { color: var(--muted); font-size: 14px; }
.role { font-size: 12.5px; font-weight: 600; color: var(--muted); margin: 0 0 2px; }
ins { background: var(--good-bg); color: var(--good); text-decoration: none; border-radius: 3px; box-decoration-break: clone; -webkit-box-decoration-break: clone; }
del { color: var(--bad); }
mark { background: var(--bad-bg); color: var(--bad); border-radius: 3px; padding: 0 1px; text-decoration: underline wavy 1px; text-underline-offset: 4px; }
.chain { border-top: 1px solid var(--line); padding: 14px 0; }
.chain > summary { color: var(--ink); font-family: var(--serif); font-size: 18px; }
.chain[open] > summary { margin-bottom: 14px; }
.chain ol { list-style: none; margin: 14px 0 0; padding: 0; }
.chain li { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 8fr); gap: 4px 28px; border-left: 3px solid var(--line); padding: 2px 0 4px 18px; margin-bottom: 18px; }
.chain .principle { grid-column: 1 / -1; font-weight: 600; font-size: 14px; color: var(--s2); margin: 0; }
.critique .passage { color: var(--muted); font-size: 14px; }
.sample { margin-top: 34px; }
.sample header .passage { font-family: var(--serif); font-size: 18px; margin: 0 0 4px; }
.tags { margin: 0 0 12px; }
.tag { font-size: 13px; color: var(--muted); }
.replies { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 260px), 1fr)); gap: 14px; }
.reply { background: var(--raised); border: 1px solid var(--line); border-top: 3px solid var(--c); border-radius: 4px 4px 10px 10px; padding: 12px 16px 10px; min-width: 0; display: flex; flex-direction: column; }
.reply h3 { color: var(--c); font-size: 14px; margin: 0 0 6px; }
.row-id { font-size: 12px; color: var(--muted); margin: 6px 0 0; }
.before-after { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 220px), 1fr)); gap: 4px 22px; }
.why { display: inline; } .why[open] { display: block; }
.why > summary { display: inline; font-size: inherit; text-decoration: underline dotted; text-underline-offset: 3px; }
.all .one + .one { margin-top: 6px; } .all td small, .all th small { white-space: normal; } .all table { font-size: 13.5px; }
.all .bad { color: var(--bad); }
.verdicts { list-style: none; margin: auto 0 0; padding: 8px 0 0; font-size: 13px; color: var(--muted); overflow-wrap: anywhere; }
.verdicts .bad b, .verdicts.bad b { color: var(--bad); }
/* provenance */
.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 6px 22px; font-size: 14px; margin: 0; }
.facts dt { color: var(--muted); } .facts dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--faint); border-radius: 8px; padding: 12px 16px; white-space: pre-wrap; overflow-wrap: anywhere; font: 14px/1.5 var(--mono); margin: 0 0 18px; }
.health { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 300px); gap: 40px; align-items: start; }
.health + .health { margin-top: 34px; }
.health h3 { margin: 0 0 4px; }
.health .calibration { margin-top: 18px; } .health .calibration small { color: var(--muted); }
body > footer { margin-top: 64px; padding-bottom: 56px; color: var(--muted); font-size: 13.5px; }
@media (max-width: 760px) {
  main, body > header, body > footer { padding-left: 18px; padding-right: 18px; }
  nav ul { flex-wrap: nowrap; overflow-x: auto; padding: 11px 18px; white-space: nowrap; }
  main > section { padding-top: 18px; margin-top: 18px; position: relative; }
  main > section > h2 { padding-right: 74px; }
  input.fold { display: block; position: absolute; top: 18px; right: 0; width: 62px; height: 34px; margin: 0; opacity: 0; cursor: pointer; }
  label.fold { display: block; position: absolute; top: 18px; right: 0; min-width: 62px; padding: 5px 12px; border: 1px solid var(--line); border-radius: 99px; background: var(--raised); color: var(--muted); font-size: 14px; text-align: center; pointer-events: none; }
  .fold .of { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  input.fold:focus-visible + label { outline: 2px solid var(--s2); outline-offset: 3px; }
  .fold .opened, input.fold:checked + label .closed, section:target > label .closed { display: none; }
  input.fold:checked + label .opened { display: inline; }
  .fold ~ .body { display: none; }
  input.fold:checked ~ .body, section:target > .body { display: block; }
  section:target > .fold { display: none; }
  body > header { padding-top: 32px; }
  .verdict, .health, .chain li { grid-template-columns: minmax(0, 1fr); }
  .verdict { gap: 28px; }
  .lede { font-size: 20px; }
  .panel { padding: 16px; }
  .stack thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  .stack, .stack tbody, .stack tr, .stack th, .stack td { display: block; }
  .stack tr { border-bottom: 1px solid var(--line); padding: 10px 0; }
  .stack tbody th, .stack td { border: 0; padding: 1px 0; text-align: left; }
  .stack tbody th { font-weight: 600; margin-bottom: 3px; }
  .stack td:empty { display: none; }
  .stack td { display: grid; grid-template-columns: 40% auto; }
  .stack td::before { content: attr(data-label); color: var(--muted); font-size: 14px; }
  .stack td small { display: inline; margin-left: 6px; }
  dl.about, .facts { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dl.about dd, .facts dd { margin-bottom: 8px; }
}
@media (max-width: 480px) {
  .bars, .hero .bars { display: block; }
  .bars .row { display: grid; grid-template-columns: 1fr max-content; margin-bottom: 8px; }
  .bars .bar { grid-column: 1 / -1; grid-row: 2; }
  .hero .bars .value small { display: inline; margin-left: 6px; }
}
@media print {
  body { font-size: 12px; }
  nav, .skip, .back, .fold { display: none; }
  .fold ~ .body { display: block; }
  main > section, .sample, .chain, figure { break-inside: avoid; }
}
`;
