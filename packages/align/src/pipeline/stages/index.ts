export { chargeEarlier, execute, inOrder } from "./execute.ts";
export { itemStage } from "./item.ts";
export { GateError, reportStage } from "./report.ts";
export { rowsStage } from "./rows.ts";
export { modelStage, type Row, type SizeOf, type Stage, type StageContext } from "./stage.ts";
export { NothingLeftError, type TrainingEvent, trainingStage } from "./training.ts";
