"""Twenty-four steps of TRL's SFTTrainer with PEFT on a small random Llama: losses, metrics and the final adapter.

    pip install torch==2.13.0 transformers==5.23.0 peft==0.21.2 trl==1.16.0
    python sft.golden.py

Weights and the first factors come from the generator of packages/fixtures/src/tiny-model.ts, repeated here, so that no file of them
is needed. Writes sft.golden.json beside itself.
"""

import base64
import json
import os
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", CUDA_VISIBLE_DEVICES="")

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models
from torch.utils.data import SequentialSampler
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

HIDDEN, INTERMEDIATE, LAYERS, HEADS, KV_HEADS, HEAD_SIZE, VOCABULARY = 32, 48, 2, 4, 2, 8, 259
RANK, ALPHA = 4, 8
END, START, STOP = 256, 257, 258
SETTINGS = dict(batchSize=8, epochs=4, learningRate=5e-3, schedule="linear", warmupSteps=3, weightDecay=0.01, maxGradNorm=0.5)


def generator(seed):
    state = seed

    def next_value():
        nonlocal state
        state = (state * 1664525 + 1013904223) % 2**32
        return 3**0.5 * (state / 2**31 - 1)

    return next_value


def tiny_model(seed=1):
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=HIDDEN,
            intermediate_size=INTERMEDIATE,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=KV_HEADS,
            head_dim=HEAD_SIZE,
            max_position_embeddings=2048,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
            tie_word_embeddings=False,
            use_cache=False,
            attn_implementation="eager",
        )
    )
    names = ["model.embed_tokens.weight"]
    for layer in range(LAYERS):
        path = f"model.layers.{layer}."
        names += [path + "input_layernorm.weight", path + "post_attention_layernorm.weight"]
        names += [path + f"self_attn.{p}_proj.weight" for p in "qkvo"]
        names += [path + f"mlp.{p}_proj.weight" for p in ("gate", "up", "down")]
    names += ["model.norm.weight", "lm_head.weight"]
    noise, weights = generator(seed), dict(model.named_parameters())
    assert set(names) == set(weights)
    with torch.no_grad():
        for name in names:
            weight = weights[name]
            if name.endswith("norm.weight"):
                weight.fill_(1)
                continue
            deviation = 1 if "embed" in name else weight.shape[-1] ** -0.5
            values = torch.tensor([noise() * deviation for _ in range(weight.numel())], dtype=torch.float64)
            weight.copy_(values.reshape(weight.shape))
    return model


def factors(model):
    """Factors by PEFT's names without its prefix, in the order in which Tenet's parameters stand."""
    found = {n.removeprefix("base_model.model.").replace(".default", ""): p for n, p in model.named_parameters() if "lora_" in n}
    order = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    paths = [
        f"model.layers.{layer}.{'self_attn' if p[0] in 'qkvo' else 'mlp'}.{p}.lora_{f}.weight"
        for layer in range(LAYERS)
        for p in order
        for f in "AB"
    ]
    assert set(paths) == set(found)
    return {path: found[path] for path in paths}


def rows():
    noise = generator(7)
    pick = lambda n: int((noise() / 3**0.5 + 1) / 2 * n)
    words = "the a clock river says often blue seven quietly near doctor please".split()
    text = lambda n: " ".join(words[pick(len(words))] for _ in range(n))
    return [{"prompt": text(1 + pick(12)) + "?", "completion": text(1 + pick(16)) + "."} for _ in range(48)]


def encode(row):
    prompt = [START, *b"user\n", *row["prompt"].encode(), STOP, *b"\n", START, *b"assistant\n"]
    completion = [*row["completion"].encode(), STOP]
    return {"input_ids": prompt + completion, "completion_mask": [0] * len(prompt) + [1] * len(completion)}


class InOrder(SFTTrainer):
    def _get_train_sampler(self, dataset=None):
        return SequentialSampler(dataset if dataset is not None else self.train_dataset)


words = Tokenizer(models.WordLevel({"<unk>": 0, "<pad>": END, "<eos>": STOP}, unk_token="<unk>"))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>", eos_token="<eos>")
lora = LoraConfig(
    r=RANK,
    lora_alpha=ALPHA,
    lora_dropout=0.0,
    bias="none",
    task_type="CAUSAL_LM",
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
)
model = get_peft_model(tiny_model(), lora)
noise = generator(2)
with torch.no_grad():
    for name, factor in factors(model).items():
        if name.endswith("lora_B.weight"):
            factor.zero_()
        else:
            values = torch.tensor([noise() * factor.shape[1] ** -0.5 for _ in range(factor.numel())], dtype=torch.float64)
            factor.copy_(values.reshape(factor.shape))

data = rows()
with tempfile.TemporaryDirectory() as folder:
    trainer = InOrder(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([encode(row) for row in data]),
        args=SFTConfig(
            output_dir=folder,
            completion_only_loss=True,
            # Two micro-batches of unequal token counts make an update.
            per_device_train_batch_size=SETTINGS["batchSize"] // 2,
            gradient_accumulation_steps=2,
            num_train_epochs=SETTINGS["epochs"],
            max_length=None,
            learning_rate=SETTINGS["learningRate"],
            lr_scheduler_type=SETTINGS["schedule"],
            warmup_steps=SETTINGS["warmupSteps"],
            weight_decay=SETTINGS["weightDecay"],
            max_grad_norm=SETTINGS["maxGradNorm"],
            optim="adamw_torch",
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            dataloader_pin_memory=False,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
    )
    trainer.train()

names = ["loss", "grad_norm", "learning_rate", "num_tokens", "epoch"]
steps = [{name: float(log[name]) for name in names} for log in trainer.state.log_history if "loss" in log]
final = torch.cat([factor.detach().flatten() for factor in factors(model).values()]).to(torch.float32)
golden = {
    "settings": SETTINGS,
    "lora": {"rank": RANK, "alpha": ALPHA},
    "rows": data,
    "steps": steps,
    "adapter": base64.b64encode(final.numpy().tobytes()).decode(),
}
Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=1) + "\n")
