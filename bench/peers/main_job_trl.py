"""The recipe of the main job (bench/main-job), whole, with transformers, PEFT and TRL, as its stages would be written with these; a round is all of it.

Prompts, principles, demonstrations and settings are the task's; as many prompts, tokens, samples, updates and rows to an update as ours.
How much there is to revise, learn and ask follows from what the model says, as with us, and is noted beside the seconds of the stages.
It does LESS than ours: RLOO instead of PPO, as TRL 1.16 has none (no value network; two replies to each of half the prompts);
candidates of equal worth are not ranked by their likelihood, of a revision's form only its end is looked at, there are no intervals,
no store from which a killed run continues, no report, and the model is loaded before the round.

Chosen for speed: what the other peers found or chose (see the heads of speaking.py, sft_epoch_trl.py, ppo_iteration_trl.py); factors are
merged while a model speaks or scores; of the labeller's head only the two letters are computed.
"""

import os

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")

import random
import re
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext

import checks
import contestant
import torch
from datasets import Dataset
from peft import LoraConfig
from smollm import load
from speaking import choices_of, logprobs_of, replies_of, scores_of
from torch.nn.functional import logsigmoid
from training import FASTEST, LORA
from transformers import LlamaConfig, LlamaForSequenceClassification
from trl import RewardConfig, RewardTrainer, RLOOConfig, RLOOTrainer, SFTConfig, SFTTrainer

task = contestant.task()
recipe, principles, prompts = task["recipe"], task["constitution"]["principles"], task["prompts"]
supervised, policy = recipe["supervised"], recipe["policy"]
base, tokenizer = load(task["model"])
tokenizer.chat_template = task["chatTemplate"]
tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
END = tokenizer.eos_token_id
classifier = LlamaForSequenceClassification(LlamaConfig(**{**base.config.to_dict(), "num_labels": 1}))
classifier.model.load_state_dict(base.model.state_dict())
classifier.config.pad_token_id = tokenizer.pad_token_id

notes = {}


@contextmanager
def stage(name):
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    notes[f"s, {name}"] = notes.get(f"s, {name}", 0) + seconds
    print(f"{name}: {seconds:.1f} s", file=sys.stderr)


@contextmanager
def merged(model):
    model.merge_adapter(["default"])
    yield
    model.unmerge_adapter()


def lora(settings, **more):
    return LoraConfig(r=settings["rank"], lora_alpha=settings["alpha"], **LORA, **more)


def ids_of(text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def encoded(messages, **more):
    more = more or {"add_generation_prompt": True}
    return ids_of(tokenizer.apply_chat_template(messages, tokenize=False, **more))


def question_of(messages):
    return "\n".join(message["content"] for message in messages if message["role"] == "user")


def speak(conversations, sampling, count=1):
    replies = replies_of(base, tokenizer, [encoded(messages) for messages in conversations], sampling, count)
    notes["tokens written outside of training"] += sum(len(one.ids) for of_prompt in replies for one in of_prompt)
    return replies


def whole_sentences(text):
    ends = list(re.finditer(r"""[.!?…]["'”’»)\]]*(?=\s|$)""", text))
    return text[: ends[-1].end()] if ends else ""


def drawn(candidates, draw):
    """All of them, each as early as it weighs much."""
    return sorted(candidates, key=lambda principle: draw.expovariate(principle["weight"]))


def afresh(messages, critique, request):
    """The person's turn behind what was wrong and what is wanted."""
    return [*messages[:-1], {"role": "user", "content": f"{critique}\n{request}\n\n{messages[-1]['content']}"}]


def revised(responses, draw):
    """What replaces each response, or nothing: a round of critique by the checks and of revision."""
    shown = []
    for one in task["demonstrations"]:
        shown += afresh(one["prompt"], one["critique"], one["revisionRequest"])
        shown.append({"role": "assistant", "content": one["revision"]})
    settings, asked = supervised["critique"], []
    for row, (messages, response) in enumerate(zip(prompts["train"], responses)):
        for principle in drawn([one for one in principles if one["checks"] and one["use"] != "preference"], draw):
            names = checks.broken(principle, question_of(messages), response)
            if names:
                critique = f"The answer breaks this rule: {'; '.join(names)}."
                asked.append((row, [*shown, *afresh(messages, critique, principle["revisionRequest"])]))
                break
    notes["responses revised"] = len(asked)
    candidates = speak([messages for _, messages in asked], settings["revision"], settings["candidates"])
    revisions = [None] * len(responses)
    for (row, _), replies in zip(asked, candidates):
        question = question_of(prompts["train"][row])
        texts = [one.text if one.finished else whole_sentences(one.text) for one in replies]
        worth, text = max(((checks.reward(principles, question, text), text) for text in texts if text), default=(-2, ""))
        if text != responses[row] and worth >= checks.reward(principles, question, responses[row]):
            revisions[row] = text
    return revisions


def fine_tuned(examples, folder):
    rows = []
    for messages, completion in examples:
        prompt, reply = encoded(messages), [*ids_of(completion), END]
        rows.append({"input_ids": prompt + reply, "completion_mask": [0] * len(prompt) + [1] * len(reply)})
    trainer = SFTTrainer(
        model=base,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        peft_config=lora(supervised["lora"], task_type="CAUSAL_LM"),
        args=SFTConfig(
            output_dir=folder,
            completion_only_loss=True,
            train_sampling_strategy="group_by_length",
            per_device_train_batch_size=supervised["batchSize"],
            num_train_epochs=supervised["epochs"],
            max_length=None,
            learning_rate=supervised["learningRate"],
            max_grad_norm=supervised["maxGradNorm"],
            **FASTEST,
        ),
    )
    trainer.train()
    return trainer.model


def labelled(pairs, model, draw):
    """[(conversation, a, b, p)]: by the checks where they tell the two apart, else as the base model says in both orders."""
    known, open_, asked = [], [], []
    for messages, a, b in pairs:
        passed = [checks.passes(principles, question_of(messages), reply) for reply in (a, b)]
        if passed == [False, False]:
            # Both break a rule: whether severely depends on the worst severity of the milder one.
            worst = [max_severity(messages, reply) for reply in (a, b)]
            if min(worst) >= recipe["feedback"]["label"]["constitutionFirst"]["severeFrom"]:
                continue
        if passed[0] != passed[1]:
            known.append((messages, a, b, float(passed[0])))
            continue
        open_.append((messages, a, b))
        principle = drawn([one for one in principles if one["use"] != "revision"], draw)[0]
        asked += [choice(messages, principle["preferenceQuestion"], options) for options in ((a, b), (b, a))]
    notes["pairs the labeller was asked about"] = len(open_)
    with model.disable_adapter():
        first = choices_of(base, asked, [ids_of(letter)[0] for letter in "AB"])
    orders = zip(first[::2], first[1::2])
    return known + [(*pair, (p + 1 - q) / 2) for pair, (p, q) in zip(open_, orders)]


def max_severity(messages, reply):
    found = [one for principle in principles for one in checks.results(principle, question_of(messages), reply)]
    return max((check["severity"] for check, violated in found if violated), default=0)


def choice(messages, question, options):
    roles = {"system": "System", "user": "Human", "assistant": "Assistant"}
    parts = [
        "Consider this conversation between a person and an assistant:",
        *(f"{roles[message['role']]}: {message['content']}" for message in messages),
        f"{question} Answer with the letter of the option.",
        f"Options:\n(A) {options[0]}\n(B) {options[1]}",
    ]
    turns = [{"role": "user", "content": "\n\n".join(parts)}, {"role": "assistant", "content": "The answer is: ("}]
    return encoded(turns, continue_final_message=True)


class SoftRewardTrainer(RewardTrainer):
    """The column for margins holds the probability that the first reply is the better one."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        p = inputs["margin"]
        scores = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False).logits
        first, second = scores[:, 0].chunk(2)
        return -(p * logsigmoid(first - second) + (1 - p) * logsigmoid(second - first)).mean()


def preference_model(preferences, folder, draw):
    """A classifier of one label, and the mean and deviation of what it gives to what it learnt from."""
    settings = recipe["preferenceModel"]
    draw.shuffle(preferences)
    held = round_half_up(settings["validationShare"] * len(preferences))
    rows = [
        {"chosen_ids": whole(messages, a), "rejected_ids": whole(messages, b), "margin": p} for messages, a, b, p in preferences
    ]
    trainer = SoftRewardTrainer(
        model=classifier,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows[held:]),
        peft_config=lora(settings["lora"], task_type="SEQ_CLS", modules_to_save=["score"]),
        args=RewardConfig(
            output_dir=folder,
            per_device_train_batch_size=settings["batchSize"],
            num_train_epochs=settings["epochs"],
            max_length=None,
            learning_rate=settings["learningRate"],
            max_grad_norm=settings["maxGradNorm"],
            **FASTEST,
        ),
    )
    trainer.train()
    judge = trainer.model.eval()
    judge.merge_adapter()  # it only scores from here on
    both = [reply for row in rows for reply in (row["chosen_ids"], row["rejected_ids"])]
    scores = scores_of(judge, both)[2 * held :]
    return judge, statistics.mean(scores), statistics.pstdev(scores) or 1


def round_half_up(number):
    return int(number + 0.5)


def whole(messages, reply):
    return [*encoded(messages), *ids_of(reply), END]


class PolicyTrainer(RLOOTrainer):
    """Prompts are numbers of rows of the training prompts."""

    def _tokenize_prompts(self, rows):
        return [encoded(prompts["train"][int(row)]) for row in rows], None, {}


def reinforced(model, judge, mean, deviation, folder):
    weights = policy["reward"]

    def reward(prompts, completions, completion_ids, **_):
        rows = [task["prompts"]["train"][int(row)] for row in prompts]
        finished = [END in reply for reply in completion_ids]
        replies = [reply if ended else [*reply, END] for reply, ended in zip(completion_ids, finished)]
        scores = scores_of(judge, [[*encoded(messages), *reply] for messages, reply in zip(rows, replies)])
        return [
            weights["preference"] * (score - mean) / deviation
            + weights["constitution"] * checks.reward(principles, question_of(messages), text.strip())
            - weights["missingEndPenalty"] * (not ended)
            for score, messages, text, ended in zip(scores, rows, completions, finished)
        ]

    trainer = PolicyTrainer(
        model=model,
        reward_funcs=reward,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"prompt": str(row)} for row in range(len(prompts["train"]))]),
        args=RLOOConfig(
            output_dir=folder,
            max_steps=policy["iterations"] * policy["epochs"] * policy["minibatches"],
            num_generations=2,
            num_iterations=policy["epochs"],
            per_device_train_batch_size=policy["promptsPerIteration"] // policy["minibatches"],
            steps_per_generation=policy["minibatches"],
            max_completion_length=policy["maxTokens"],
            beta=policy["kl"]["coefficient"],
            epsilon=policy["clip"],
            learning_rate=policy["learningRate"],
            max_grad_norm=policy["maxGradNorm"],
            **FASTEST,
        ),
    )
    trainer.train()


def looked_at(model=None):
    """A checkpoint's replies to held-out prompts and its log-probabilities of neutral texts; how far its replies are from the base."""
    with merged(model) if model else nullcontext():
        with stage("held-out replies"):
            replies = [one for (one,) in speak(prompts["heldOut"], recipe["evaluate"]["sampling"])]
        own = [(encoded(messages), one.ids) for messages, one in zip(prompts["heldOut"], replies) if one.ids]
        texts = [re.match(r"\S+", text.strip()) for text in task["neutral"]]
        texts = [(ids_of(first.group()), ids_of(first.string[first.end() :])) for first in texts]
        with stage("held-out scoring"):
            neutral = [logprob for text in logprobs_of(base, texts) for logprob in text]
            under = logprobs_of(base, own) if model else None
    if model:
        with stage("held-out scoring"), model.disable_adapter():
            before = logprobs_of(base, own)
    seen = [checks.passes(principles, question_of(one), reply.text) for one, reply in zip(prompts["heldOut"], replies)]
    figures = [f"{1 - statistics.mean(seen):.2f} violate", f"mean log-probability {statistics.mean(neutral):.3f}"]
    if model:
        gaps = [x - y for one, other in zip(under, before) for x, y in zip(one, other)]
        figures.append(f"{statistics.mean(gaps):.3f} nats per token to the base")
    print("; ".join(figures), file=sys.stderr)


def round():
    notes.clear()
    notes["tokens written outside of training"] = 0
    torch.manual_seed(recipe["seed"])
    draw = random.Random(recipe["seed"])
    base.eval()
    looked_at()
    with stage("first responses"):
        responses = [one.text for (one,) in speak(prompts["train"], supervised["response"])]
    with stage("critique and revision"):
        revisions = revised(responses, draw)
    examples = [
        (messages, text)
        for messages, text in zip(prompts["train"], revisions)
        if text and checks.passes(principles, question_of(messages), text)
    ]
    with stage("helpful replies"):
        helpful = []
        for messages, (one,) in zip(prompts["helpful"], speak(prompts["helpful"], supervised["helpful"]["sampling"])):
            text = one.text if one.finished else whole_sentences(one.text)
            helpful += [(messages, text)] if text else []
    ratio = supervised["helpful"]["ratio"]
    count = min(len(examples), round_half_up(len(helpful) / ratio))
    examples = draw.sample(examples, count) + draw.sample(helpful, min(len(helpful), round_half_up(ratio * count)))
    notes["examples learnt"] = len(examples)

    with tempfile.TemporaryDirectory() as folder:
        with stage("fine-tuning"):
            model = fine_tuned(examples, folder).eval()
        looked_at(model)
        with stage("pairs"), merged(model):
            pairs = recipe["feedback"]["pairs"]
            replies = speak(prompts["train"], pairs["sampling"], pairs["samples"])
        two = [(messages, a.text, b.text) for messages, (a, b) in zip(prompts["train"], replies)]
        with stage("labels"):
            preferences = labelled([pair for pair in two if pair[1] and pair[2] and pair[1] != pair[2]], model, draw)
        notes["pairs labelled"] = len(preferences)
        with stage("preference model"):
            judge, mean, deviation = preference_model(preferences, folder, draw)
        with stage("reinforcement learning"):
            reinforced(model, judge, mean, deviation, folder)
        looked_at(model.eval())
    # The next round begins with what this one began with.
    judge.unmerge_adapter()
    judge.unload()
    model.unload()
    vars(base).pop("forward", None)
    return {"notes": dict(notes)}


contestant.serve(round)
