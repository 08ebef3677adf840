import { describe, expect, it } from "vitest";
import { countWords, firstSentence, wholeSentences, wordsIn } from "./words.ts";

describe("words", () => {
  it("stand between white space where a language sets it", () => {
    expect(wordsIn("See a doctor – soon, don't wait.")).toEqual(["See", "a", "doctor", "soon,", "don't", "wait."]);
    expect(countWords("Ступайте к врачу. اذهب إلى الطبيب डॉक्टर के पास")).toBe(9);
  });
  it.each<[string, string, number]>([
    ["Chinese", "咳嗽超过三周应当去看医生。", 6],
    ["Japanese", "医師の診察を受けてください。", 5],
    ["Thai", "ควรไปพบแพทย์", 3],
    ["Lao", "ຄວນໄປພົບແພດ", 3],
    ["Khmer", "គួរតែទៅជួបវេជ្ជបណ្ឌិត", 3],
    ["Burmese", "ဆရာဝန်နှင့်ပြသပါ", 3],
    ["Chinese with English", "Use ibuprofen，请看医生。", 4],
  ])("are divided in %s", (_, text, least) => {
    expect(countWords(text)).toBeGreaterThanOrEqual(least);
    expect(countWords(text)).toBeLessThan([...text].length);
  });
});

describe("the first sentence", () => {
  it.each([
    ["See a doctor. Rest.", "See a doctor."],
    ["It costs 3.5 and more", "It costs 3.5 and more"],
    ["先休息。再看医生。", "先休息。"],
    [" 「休んで。」と言った。", "「休んで。」"],
    ["", ""],
  ])("of %j", (text, first) => expect(firstSentence(text)).toBe(first));
});

describe("whole sentences", () => {
  it.each([
    ["See a doctor. Rest a", "See a doctor."],
    ["It costs 3.5", ""],
    ["请去看医生。医生会听您的肺。如果您发", "请去看医生。医生会听您的肺。"],
    ["他说：“去看医生！”然后走", "他说：“去看医生！”"],
    ["「医師に相談してください。」と言っ", "「医師に相談してください。」"],
    ["本当ですか？はい", "本当ですか？"],
    ["डॉक्टर से मिलें। आराम", "डॉक्टर से मिलें।"],
    ["هل تشعر بألم؟ اذهب", "هل تشعر بألم؟"],
    ["ဆရာဝန်နှင့်ပြသပါ။ အနား", "ဆရာဝန်နှင့်ပြသပါ။"],
  ])("of %j", (text, whole) => expect(wholeSentences(text)).toBe(whole));
});
