"""The same step as TRL's SFTTrainer takes it: transformers' Llama with random weights, PEFT's LoRA, rows already tokenised.

A round is one step of `trainer.train()`, from the trainer's on_step_begin to its on_step_end: forward, backward, AdamW.
"""

import os

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")

import tempfile
import time

import contestant
import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models
from training import FASTEST, LORA
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import SFTConfig, SFTTrainer

from shapes import *

torch.manual_seed(0)

model = LlamaForCausalLM(
    LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=HEAD_DIM,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        rms_norm_eps=RMS_EPS,
        initializer_range=INIT_STD,
        tie_word_embeddings=True,
        use_cache=False,
        attn_implementation="sdpa",
    )
)

# SFTTrainer asks for a tokenizer even where rows are tokens already; this one is never called to tokenise.
words = Tokenizer(models.WordLevel({"<unk>": 0, "<pad>": 1, "<eos>": 2}, unk_token="<unk>"))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>", eos_token="<eos>")

rows = torch.randint(3, VOCABULARY, (ROWS * 16, TIME)).tolist()


class Rounds(TrainerCallback):
    def on_train_begin(self, args, state, control, **_):
        contestant.ready()

    def on_step_begin(self, args, state, control, **_):
        if not contestant.wait_for_round():
            raise SystemExit
        self.start = time.perf_counter()

    def on_step_end(self, args, state, control, **_):
        contestant.answer_round(time.perf_counter() - self.start)


with tempfile.TemporaryDirectory() as folder:
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict({"input_ids": rows}),
        peft_config=LoraConfig(
            r=RANK,
            lora_alpha=ALPHA,
            task_type="CAUSAL_LM",
            **LORA,
        ),
        callbacks=[Rounds()],
        args=SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=ROWS,
            max_length=TIME,
            max_steps=1_000_000,
            learning_rate=LEARNING_RATE,
            max_grad_norm=0.0,
            **FASTEST,
        ),
    )
    trainer.train()
