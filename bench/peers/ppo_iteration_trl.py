"""One iteration of TRL's RLOOTrainer with PEFT: rollout, scorings, epochs; a round is what `trainer.train()` does for one batch of prompts.

TRL 1.16 has no PPO; this is the nearest it has, and it does LESS than our iteration: three scorings instead of
four and one network trained instead of two, as it has no value network. ppo_iteration_peft.py does all of it.
Everything else is equal: prompts as tokens, replies of one length that nothing ends, LoRA on all matrices, updates of as many replies,
float32. RLOO wants two replies or more to a prompt; here two neighbours stand for them, whose prompts differ, so that as many different
prompts are read as by us. The reward is a scalar head on the base itself, with adapters switched off: no adapter to compute, no second copy.

Chosen for speed: no gradient checkpointing, all replies generated in one batch, nothing logged or saved. Its log-probabilities go through
the head for the prompts' tokens too, which TRL leaves out on GPUs only. Not tried: transformers' continuous batching.
"""

import os

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")

import tempfile
import time

import contestant
import torch
from datasets import Dataset
from peft import LoraConfig
from smollm import load
from training import FASTEST, LORA
from transformers import TrainerCallback
from trl import RLOOConfig, RLOOTrainer
from trl.trainer.utils import RepeatSampler

task = contestant.task()
prompts = [prompt["tokens"] for prompt in task["prompts"]]
updates = task["epochs"] * task["minibatches"]
torch.manual_seed(0)
model, tokenizer = load(task["model"])
head = torch.nn.Linear(model.config.hidden_size, 1, bias=False)
written = 0  # tokens of the round's replies


class Rounds(TrainerCallback):
    def on_train_begin(self, args, state, control, **_):
        contestant.ready()

    def on_step_begin(self, args, state, control, **_):
        if state.global_step % updates > 0:
            return
        if not contestant.wait_for_round():
            raise SystemExit
        self.start = time.perf_counter()

    def on_step_end(self, args, state, control, **_):
        if state.global_step % updates == 0:
            seconds = time.perf_counter() - self.start
            contestant.answer_round(seconds, work=written, prompt_tokens=sum(map(len, prompts)), notes={"updates": updates})


class Trainer(RLOOTrainer):
    """Prompts are numbers of rows of `prompts`, each taken once a batch."""

    def _tokenize_prompts(self, rows):
        return [prompts[int(row)] for row in rows], None, {}

    def _get_train_sampler(self, dataset=None):
        return RepeatSampler(self.train_dataset, mini_repeat_count=1, batch_size=len(prompts), repeat_count=updates, seed=0)


@torch.no_grad()
def reward(prompts, completion_ids, **_):
    """r(x, y) at the last token, all replies in one batch."""
    global written
    written = sum(map(len, completion_ids))
    rows = [torch.tensor(given + reply) for given, reply in zip(trainer._tokenize_prompts(prompts)[0], completion_ids)]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    policy = trainer.model
    with policy.disable_adapter():
        hidden = policy.get_base_model().model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    return head(hidden[torch.arange(len(rows)), lengths - 1])[:, 0].tolist()


with tempfile.TemporaryDirectory() as folder:
    trainer = Trainer(
        model=model,
        reward_funcs=reward,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"prompt": str(row)} for row in range(len(prompts))]),
        peft_config=LoraConfig(
            r=16,
            lora_alpha=32,
            task_type="CAUSAL_LM",
            **LORA,
        ),
        callbacks=[Rounds()],
        args=RLOOConfig(
            output_dir=folder,
            max_steps=1_000_000,
            num_generations=2,
            num_iterations=task["epochs"],
            per_device_train_batch_size=len(prompts) // task["minibatches"],
            steps_per_generation=task["minibatches"],
            max_completion_length=task["newTokens"],
            generation_kwargs={"min_new_tokens": task["newTokens"]},
            beta=0.05,
            learning_rate=5e-5,
            max_grad_norm=1.0,
            **FASTEST,
        ),
    )
    trainer.train()
