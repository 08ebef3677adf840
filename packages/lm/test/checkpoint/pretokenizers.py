"""Writes pretokenizers.golden.json: how Hugging Face's tokenizers cut texts, for each name of `tokenizer.ggml.pre`.

    pip install tokenizers==0.23.3
    python packages/lm/test/checkpoint/pretokenizers.py

Patterns are those that llama.cpp publishes for the names (src/llama-vocab.cpp), in the form of the models' tokenizer.json
where it quotes that; the package that cuts is not the one under test.
"""

import json
from importlib.metadata import version
from pathlib import Path

from tokenizers import Regex, pre_tokenizers

CONTRACTIONS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
HEAD = r"[^\r\n\p{L}\p{N}]?"
TEKKEN = rf"{HEAD}{UPPER}*{LOWER}+|{HEAD}{UPPER}+{LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT4O = (
    rf"{HEAD}{UPPER}*{LOWER}+{CONTRACTIONS}?|{HEAD}{UPPER}+{LOWER}*{CONTRACTIONS}?|\p{{N}}{{1,3}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SEED = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
CASED = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373"
    "\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481"
    "\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b"
    "\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b"
    "\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb"
    "\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128"
    "\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4"
    "\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf"
    "\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3"
    "\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
EAST = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
DEEPSEEK_LLM = ["[\r\n]", rf"\s?[{CASED}]+", "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$", EAST, r"\p{N}"]
DEEPSEEK_CODER = ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", EAST, r"\p{N}"]
BLOOM = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"

PATTERNS = {
    **dict.fromkeys(["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"], [r"\p{N}", GPT2]),
    **dict.fromkeys(["qwen2", "deepseek-r1-qwen", "megrez"], [QWEN2]),
    **dict.fromkeys(["llama-bpe", "llama3", "llama-v3", "falcon3", "smaug-bpe", "dbrx"], [LLAMA3]),
    **dict.fromkeys(["gpt-2", "phi-2", "mpt", "olmo", "jais"], [GPT2]),
    "tekken": [TEKKEN],
    "gpt-4o": [GPT4O],
    "seed-coder": [SEED],
    "deepseek-llm": DEEPSEEK_LLM,
    "deepseek-coder": DEEPSEEK_CODER,
    "viking": [BLOOM, r"\p{N}"],
}
TEXTS = [
    "I'll say it's 2024, WE'RE done; don'T you'D think?",
    "Hello World, HelloWorld iPhone ÉCOLE éCole McDonald's NASA's ABCdef",
    "line one\n\n  line two\r\n\tthree   \n",
    "12345 3.14159 1,000,000 ٣٤٥ ½ Ⅷ x2y10",
    "日本語のテキスト、中文字符。한국어 문장!",
    "naïve cafe\u0301 déjà-vu 👍🏽 a/b//c\n/d <b>x</b> #tag @you",
    "    indented(code): return x == y != z  # note",
    "“quoted” ‘single’ —dash— … а б В Γ ქართული Ა 𝐀𝐁 ʔa",
    "हिन्दी संस्कृत। اردو، ۔ ไทย עברית",
    "trailing  ",
    " leading and  double",
    "a\u00a0b\u2003c\u0085d\ufeffe",
]


def cut(patterns, text):
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return [word for word, _ in pre_tokenizers.Sequence([*splits, last]).pre_tokenize_str(text)]


content = {
    "made_by": "packages/lm/test/checkpoint/pretokenizers.py",
    "versions": {"tokenizers": version("tokenizers")},
    "texts": TEXTS,
    "words": {name: [cut(patterns, text) for text in TEXTS] for name, patterns in PATTERNS.items()},
}
path = Path(__file__).parent / "pretokenizers.golden.json"
path.write_text(json.dumps(content, ensure_ascii=False) + "\n")
print(path.name, path.stat().st_size // 1000, "kB")
