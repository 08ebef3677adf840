export { agreementOf, type PeopleAgreement, type PersonRecord } from "./agreement.ts";
export {
  type AnswerValue,
  answerOf,
  answerValueSchema,
  type Choice,
  choices,
  drawnSide,
  preferenceOf,
  type ReviewSpec,
  reviewSpecSchema,
  type Side,
  saysOf,
  usualQuestion,
  type Word,
  wordsOf,
} from "./answers.ts";
export { type Correction, type CorrectionForm, correctionForms, correctionsOf } from "./corrections.ts";
export { Desk, type DeskItem, type DeskTurn } from "./desk.ts";
export { type ImportedAnswers, importSheet, type SheetRow, sheetOf, sheetText } from "./exchange.ts";
export { isLearntFrom, labelStages, makeQueue, orderable, reasonsOf } from "./make-queue.ts";
export { type LabelOrder, labelOrders, type Orderable, ordered, orderKeys, orderTexts } from "./order.ts";
