"""Supervised fine-tuning with TRL's SFTTrainer and PEFT; a round is an epoch of `trainer.train()`.

Loss on completions only, the same tokens as ours. Two ways of dealing with unequal lengths, both at their best here:
padded to the longest of a batch, with examples of like length batched together; and `padding_free`, all examples of an update in one row
with a block-diagonal mask. TRL's `packing="bfd"` is the latter with rows cut at a length, which on a CPU changes nothing but the
updates' size. Entropy and accuracy, which TRL always computes, are computed by ours too.
An update's 16 examples go through in four parts: all at once took 18 GB, and with ours beside it the machine ran out of memory.
"""

import os

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")

import sys
import tempfile
import time

import contestant
import torch
from datasets import Dataset
from peft import LoraConfig
from smollm import load
from training import FASTEST, LORA
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

PARTS = 4
task = contestant.task()
padding_free = "--padding-free" in sys.argv
torch.manual_seed(0)
model, tokenizer = load(task["model"])
tokenizer.padding_side = "right"
rows = [
    {
        "input_ids": example["tokens"],
        "completion_mask": [0] * example["promptTokens"] + [1] * (len(example["tokens"]) - example["promptTokens"]),
    }
    for example in task["examples"]
]
work = sum(len(row["input_ids"]) for row in rows)


class Rounds(TrainerCallback):
    def on_train_begin(self, args, state, control, **_):
        contestant.ready()

    def on_epoch_begin(self, args, state, control, **_):
        if not contestant.wait_for_round():
            raise SystemExit
        self.start = time.perf_counter()

    def on_epoch_end(self, args, state, control, **_):
        contestant.answer_round(time.perf_counter() - self.start, work=work)


with tempfile.TemporaryDirectory() as folder:
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        peft_config=LoraConfig(
            r=16,
            lora_alpha=32,
            task_type="CAUSAL_LM",
            **LORA,
        ),
        callbacks=[Rounds()],
        args=SFTConfig(
            output_dir=folder,
            completion_only_loss=True,
            padding_free=padding_free,
            train_sampling_strategy="random" if padding_free else "group_by_length",
            per_device_train_batch_size=task["batchSize"] // PARTS,
            gradient_accumulation_steps=PARTS,
            num_train_epochs=task["epochs"],
            max_length=None,
            learning_rate=1e-4,
            **FASTEST,
        ),
    )
    trainer.train()
