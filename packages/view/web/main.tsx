import "./style.css";
import { useEffect } from "react";
import { createRoot } from "react-dom/client";
import { Frame } from "./frame.tsx";
import { startKeys } from "./keys.tsx";
import { startLive } from "./live.ts";
import { navigate, useRoute } from "./route.tsx";
import { ChainsScreen } from "./screens/chains.tsx";
import { ChatScreen } from "./screens/chat.tsx";
import { CompareScreen } from "./screens/compare.tsx";
import { ConstitutionScreen, ConstitutionsScreen } from "./screens/constitutions.tsx";
import { ExportsScreen } from "./screens/exports.tsx";
import { LabelsScreen } from "./screens/labels.tsx";
import { LaunchScreen } from "./screens/launch.tsx";
import { MonitorsScreen } from "./screens/monitors.tsx";
import { NotFound } from "./screens/not-found.tsx";
import { PairsScreen } from "./screens/pairs.tsx";
import { QueueResults, ReviewDesk, ReviewScreen } from "./screens/review.tsx";
import { Row } from "./screens/row.tsx";
import { RunFrame, RunOverview } from "./screens/run.tsx";
import { RunsScreen } from "./screens/runs.tsx";
import { SamplesScreen } from "./screens/samples.tsx";
import { LogScreen, StageScreen } from "./screens/stage.tsx";
import { TrainingScreen } from "./screens/training.tsx";
import { VoteScreen, VotesScreen } from "./screens/votes.tsx";
import { startTheme } from "./theme.ts";

function Screen() {
  const { path } = useRoute();
  const [place, id, tab, further] = path;
  useEffect(() => {
    document.title = `${[...path].reverse().join(" · ") || "Runs"} — Tenet`;
    if (path.length === 0) navigate("/runs", { replace: true });
  });
  switch (place) {
    case undefined:
    case "runs":
      return id === undefined ? <RunsScreen /> : <RunScreen key={id} id={id} tab={tab} further={further} />;
    case "review":
      if (id === undefined) return <ReviewScreen />;
      return tab === "results" ? <QueueResults key={id} id={id} /> : <ReviewDesk key={id} id={id} />;
    case "constitutions":
      if (id === "votes") return tab === undefined ? <VotesScreen /> : <VoteScreen key={tab} id={tab} />;
      return id === undefined ? <ConstitutionsScreen /> : <ConstitutionScreen key={id} hash={id} />;
    case "launch":
      return <LaunchScreen />;
    case "chat":
      return <ChatScreen />;
    case "compare":
      return <CompareScreen />;
    case "rows":
      return id === undefined ? <NotFound /> : <Row id={id} />;
    default:
      return <NotFound />;
  }
}

function RunScreen({ id, tab, further }: { id: string; tab: string | undefined; further: string | undefined }) {
  const screens = {
    training: <TrainingScreen run={id} />,
    samples: <SamplesScreen run={id} />,
    chains: <ChainsScreen run={id} />,
    pairs: <PairsScreen run={id} />,
    labels: <LabelsScreen run={id} />,
    monitors: <MonitorsScreen run={id} />,
    exports: <ExportsScreen run={id} />,
    log: <LogScreen run={id} />,
  };
  if (tab === "stages" && further !== undefined)
    return (
      <RunFrame id={id} tab="">
        <StageScreen key={further} run={id} stage={further} />
      </RunFrame>
    );
  if (tab !== undefined && !(tab in screens)) return <NotFound />;
  return (
    <RunFrame id={id} tab={tab ?? ""}>
      {tab === undefined ? <RunOverview id={id} /> : screens[tab as keyof typeof screens]}
    </RunFrame>
  );
}

startTheme();
startKeys();
startLive();
createRoot(document.getElementById("root")!).render(
  <Frame>
    <Screen />
  </Frame>,
);
