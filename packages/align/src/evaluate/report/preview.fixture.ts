/*
 * Writes the page of invented figures to look at: npx tsx -C source packages/align/src/evaluate/report/preview.fixture.ts page.html
 */
import { writeFileSync } from "node:fs";
import { assembleScorecard } from "../assemble.ts";
import { evidenceFixture } from "../evidence.fixture.ts";
import { scorecardPage } from "./report.ts";

const path = process.argv[2];
if (!path) throw new Error("give the file to write, e.g. page.html");
writeFileSync(path, scorecardPage(assembleScorecard(evidenceFixture())));
