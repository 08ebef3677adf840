import { normalForm } from "@tenet/data";

/*
 * What a text is about, as far as its words tell: the stems of its content words. For the rule `mentions`.
 */

/** How words are told and compared. */
export interface Vocabulary {
  /** BCP 47 tag of the language: how words are divided, and for English which are stop words and how they are stemmed. */
  readonly language?: string | undefined;
  /** Words that say nothing here, whatever their form. */
  readonly ignore?: readonly string[] | undefined;
  /** Words of one group count as the same. */
  readonly groups?: readonly (readonly string[])[] | undefined;
}

/**
 * The content words of a text: from the stem, or the first word of the group it belongs to, to the word as it stands there first.
 *
 * Words are divided by `Intl.Segmenter`, so that languages without spaces have words too. In English (the default), stop words and
 * words of one or two letters are left out, and endings are cut off (plurals, -ed, -ing, a last e or y). In other languages
 * nothing is cut, and words of one to three letters of an alphabet are left out in place of stop words. "My knees have been hurting"
 * has `knee` and `hurt`.
 */
export function contentWords(text: string, vocabulary: Vocabulary = {}): Map<string, string> {
  const { words, stem, ignored, groups } = toolsOf(vocabulary);
  const found = new Map<string, string>();
  for (const word of words(text)) {
    const own = stem(word);
    if (own === undefined || ignored.has(own)) continue;
    const key = groups.get(own) ?? own;
    if (!found.has(key)) found.set(key, word);
  }
  return found;
}

interface Tools {
  words: (text: string) => string[];
  /** Undefined for a word without content. */
  stem: (word: string) => string | undefined;
  ignored: ReadonlySet<string>;
  groups: ReadonlyMap<string, string>;
}

/** By the vocabulary object, which a constitution holds on to. */
const tools = new WeakMap<Vocabulary, Tools>();

function toolsOf(vocabulary: Vocabulary): Tools {
  const known = tools.get(vocabulary);
  if (known) return known;
  const { language = "en", ignore = [], groups = [] } = vocabulary;
  const segmenter = new Intl.Segmenter(language, { granularity: "word" });
  const english = new Intl.Locale(language).language === "en";
  const reduce = english ? stemOf : (word: string) => word;
  const made: Tools = {
    words: (text) =>
      [...segmenter.segment(text.replaceAll("’", "'"))].flatMap(({ segment, isWordLike }) =>
        isWordLike ? [segment.toLowerCase().normalize("NFKC")] : [],
      ),
    stem: (word) => (hasContent(word, english) ? reduce(word) : undefined),
    ignored: new Set(ignore.map((word) => reduce(normalForm(word)))),
    groups: new Map(groups.flatMap((group) => group.map((word) => [reduce(normalForm(word)), group[0]!] as const))),
  };
  tools.set(vocabulary, made);
  return made;
}

function hasContent(word: string, english: boolean): boolean {
  if (english) return word.length > 2 && !stopWords.has(word.replace(/'.*$/, "")) && !stopWords.has(word);
  // Alphabets have short words without meaning; scripts that write syllables or ideas have not.
  return /[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}]/u.test(word) ? [...word].length > 3 : true;
}

/** An English word without its ending: about step 1 of Porter (1980), and the last e or y. */
function stemOf(word: string): string {
  let stem = word.replace(/'s?$/, "");
  stem = stem
    .replace(/(ss|x|ch|sh|zz)es$/, "$1")
    .replace(/ies$/, "y")
    .replace(/([^su])s$/, "$1");
  const root = /^(.*[aeiouy].*?)(?:ing|ed)$/.exec(stem)?.[1];
  if (root !== undefined && root.length > 2 && !stem.endsWith("eed")) stem = root.replace(/([bdgmnprt])\1$/, "$1");
  return stem.length > 3 ? stem.replace(/([^e])[ey]$/, "$1") : stem;
}

/** English words that are about nothing. */
const stopWords = new Set(
  `a able about above across actually after again against ago all almost alone along already also although always am among an and
  another any anybody anyone anything anyway are aren't around as ask asked at away back bad badly be became because become been before
  began behind being below best better between bit both but by call called came can can't cannot come comes could couldn't did didn't
  different do does doesn't doing don't done down during each either else enough even ever every everybody everyone everything explain
  far few find for from gave get gets getting give given gives go goes going gone good got great had hadn't happen happened happens hardly
  has hasn't have haven't having he he'd he'll he's hello help her here hers herself hi him himself his how however i i'd i'll i'm
  i've if in instead into is isn't it it's its itself just keep keeps kept kind knew know known knows last least less let like likely little long
  look looks lot made make makes making many may maybe me mean means might mine more most much must my myself name near nearly need
  needs never new next no nobody none nor not nothing now of off often ok okay on once one only onto or other others otherwise our
  ours out over own particular people perhaps please possible probably put quite rather really right said same say says see seem seems seen
  several shall she she's should shouldn't since so some somebody someone something sometimes soon still such suppose sure take taken takes
  taking tell than thank thanks that that's the their them themselves then there there's these they they're thing things think this
  those though thought through till time times to today together told too took toward tried try trying turn two under unless until up
  upon us use used using usual usually very via want wanted wants was wasn't way we we'll we're we've well went were weren't what
  what's whatever when where whether which while who whole whom whose why will with within without won't word words would wouldn't
  write yes yet you you'd you'll you're you've your yours yourself`.split(/\s+/),
);
