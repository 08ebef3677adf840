"""Writes decoder.tied.golden.json and decoder.untied.golden.json: a small Llama with LoRA, as transformers and PEFT compute it.

    pip install torch==2.13.0 transformers==5.23.0 peft==0.21.2
    python packages/lm/test/golden/decoder.py

Weights are float32 values; the reference is computed from exactly those values in float64. Tensors are stored as
{ dtype, shape, data }, data being base64 of little-endian numbers. Names are those of a Hugging Face checkpoint and of
a PEFT adapter file.

- batch: logits, mean loss over the supervised positions, and the gradient of every LoRA matrix.
- packed: two sequences of unequal length, meant to be packed into one row; the reference runs them separately.
- training: 100 steps of AdamW with clipping and a cosine schedule over a cycle of four batches.
"""

import argparse
import base64
import json
import pathlib
import platform

import numpy
import peft
import torch
import torch.nn.functional as F
import transformers
from transformers.models.llama import modeling_llama

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=1)
arguments = parser.parse_args()

VOCABULARY, ROWS, TIME, IGNORE = 97, 2, 12, -100
CONFIG = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
}
ROPE_THETA = 10000.0
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORA = {"r": 4, "lora_alpha": 8, "target_modules": PROJECTIONS}
TRAINING = {
    "steps": 100,
    "batches": 4,
    "lr": 1e-3,
    "betas": [0.9, 0.999],
    "eps": 1e-8,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "schedule": {"name": "cosine", "warmup_steps": 10, "total_steps": 100},
}


class ExactNorm(modeling_llama.LlamaRMSNorm):
    """transformers' RMSNorm rounds to float32 inside; this is the same formula without the rounding."""

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


class ExactRotary(modeling_llama.LlamaRotaryEmbedding):
    """transformers' angles are float32; these are the same angles in the type of the activations."""

    def forward(self, x, position_ids, **_):
        dim = CONFIG["head_dim"]
        frequencies = ROPE_THETA ** -(torch.arange(0, dim, 2, dtype=x.dtype) / dim)
        angles = position_ids[..., None].to(x.dtype) * frequencies
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos(), angles.sin()


def new_model(tied, dtype):
    config = transformers.LlamaConfig(
        **CONFIG,
        tie_word_embeddings=tied,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        attn_implementation="sdpa",  # the eager path would take its softmax in float32
    )
    model = transformers.LlamaForCausalLM(config).to(dtype)
    if dtype == torch.float64:
        for module in model.modules():
            if isinstance(module, modeling_llama.LlamaRMSNorm):
                module.__class__ = ExactNorm
            if isinstance(module, modeling_llama.LlamaRotaryEmbedding):
                module.__class__ = ExactRotary
    return peft.get_peft_model(model, peft.LoraConfig(**LORA, lora_dropout=0.0, bias="none"))


def base_weights(model):
    """The checkpoint's tensors, under the names a checkpoint has."""
    weights = {}
    for name, value in model.get_base_model().named_parameters():
        if "lora_" not in name:
            weights[name.replace(".base_layer", "")] = value
    return weights


def lora_weights(model, of=lambda parameter: parameter.detach()):
    """The adapter's tensors, under the names PEFT's adapter file has."""
    return {
        name.replace(".default", ""): of(parameter) for name, parameter in model.named_parameters() if "lora_" in name
    }


def randomise(model, generator):
    """Weights large enough that every path carries signal, float32 exactly."""
    for name, value in {**base_weights(model), **lora_weights(model)}.items():
        noise = torch.randn(value.shape, generator=generator, dtype=torch.float32)
        value.data.copy_(1 + 0.1 * noise if "norm" in name else 0.2 * noise)


def copy_weights(source, target):
    for get in (base_weights, lora_weights):
        values = get(source)
        for name, value in get(target).items():
            value.data.copy_(values[name].data)


def token_losses(model, tokens, labels):
    """Sum of -log p over the supervised positions, their number, and the logits. labels[t] is predicted at t - 1."""
    logits = model(input_ids=tokens).logits
    losses = F.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORE, reduction="sum"
    )
    return losses, int((labels[:, 1:] != IGNORE).sum()), logits


def random_batch(generator, rows=ROWS, time=TIME):
    tokens = torch.randint(0, VOCABULARY, (rows, time), generator=generator)
    labels = torch.where(torch.rand(rows, time, generator=generator) < 0.6, tokens, IGNORE)
    labels[:, 0] = IGNORE  # nothing predicts the first token
    labels[:, -1] = tokens[:, -1]  # and every row supervises something
    return tokens, labels


def shifted(labels):
    """targets[t] is what position t should predict."""
    return F.pad(labels[:, 1:], (0, 1), value=IGNORE)


def encode(tensor):
    names = {torch.float32: "<f4", torch.float64: "<f8", torch.int64: "<i4"}
    array = tensor.detach().numpy().astype(names[tensor.dtype])
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "data": base64.b64encode(numpy.ascontiguousarray(array).tobytes()).decode(),
    }


def encode_batch(tokens, labels):
    return {"tokens": encode(tokens), "labels": encode(labels), "targets": encode(shifted(labels))}


def encode_all(tensors, dtype=None):
    return {name: encode(value.to(dtype) if dtype else value) for name, value in tensors.items()}


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return lora_weights(model, lambda parameter: parameter.grad.clone())


def one_batch(model, tokens, labels):
    total, count, logits = token_losses(model, tokens, labels)
    loss = total / count
    return {
        **encode_batch(tokens, labels),
        "supervised": count,
        "loss": loss.item(),
        "logits": encode(logits),
        "gradients": encode_all(gradients(model, loss)),
    }


def two_sequences(model, generator):
    sequences = [random_batch(generator, 1, length) for length in (5, 7)]
    results = [token_losses(model, *sequence) for sequence in sequences]
    loss = sum(total for total, _, _ in results) / sum(count for _, count, _ in results)
    row = {
        "tokens": torch.cat([tokens for tokens, _ in sequences], dim=1),
        # Shifted within each sequence: the last token of the first must not be asked for the first of the second.
        "targets": torch.cat([shifted(labels) for _, labels in sequences], dim=1),
        "positions": torch.cat([torch.arange(tokens.shape[1])[None] for tokens, _ in sequences], dim=1),
        "segments": torch.cat([torch.full_like(tokens, i) for i, (tokens, _) in enumerate(sequences)], dim=1),
    }
    return {
        "row": encode_all(row),
        "sequences": [encode_batch(*sequence) for sequence in sequences],
        "supervised": sum(count for _, count, _ in results),
        "loss": loss.item(),
        "logits": encode(torch.cat([logits for _, _, logits in results], dim=1)),
        "gradients": encode_all(gradients(model, loss)),
    }


def train(model, batches):
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, TRAINING["lr"], tuple(TRAINING["betas"]), TRAINING["eps"], TRAINING["weight_decay"]
    )
    schedule = TRAINING["schedule"]
    scheduler = transformers.get_scheduler(
        schedule["name"], optimizer, schedule["warmup_steps"], schedule["total_steps"]
    )
    log = {"losses": [], "grad_norms": [], "learning_rates": []}
    for step in range(TRAINING["steps"]):
        total, count, _ = token_losses(model, *batches[step % len(batches)])
        loss = total / count
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, TRAINING["max_grad_norm"])
        log["learning_rates"].append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
        log["losses"].append(loss.item())
        log["grad_norms"].append(norm.item())
    return log


def golden(tied):
    generator = torch.Generator().manual_seed(arguments.seed + (0 if tied else 1000))
    exact = new_model(tied, torch.float64)
    randomise(exact, generator)
    plain = new_model(tied, torch.float32)  # transformers as it comes: how far honest float32 strays
    copy_weights(exact, plain)

    tokens, labels = random_batch(generator)
    result = {
        "made_by": "packages/lm/test/golden/decoder.py",
        "arguments": vars(arguments),
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
            "peft": peft.__version__,
        },
        "config": {**CONFIG, "rope_theta": ROPE_THETA, "tie_word_embeddings": tied},
        "lora": LORA,
        "weights": encode_all(base_weights(exact), torch.float32),
        "adapter": encode_all(lora_weights(exact), torch.float32),
        "batch": one_batch(exact, tokens, labels),
        "packed": two_sequences(exact, generator),
    }

    # The patched float64 model must be the same function as the library's own.
    with torch.no_grad():
        difference = (token_losses(exact, tokens, labels)[2] - token_losses(plain, tokens, labels)[2]).abs().max()
    assert difference < 1e-4, f"float64 and float32 logits differ by {difference}"

    batches = [random_batch(generator) for _ in range(TRAINING["batches"])]
    log = train(exact, batches)
    log32 = train(plain, batches)
    final, final32 = lora_weights(exact), lora_weights(plain)
    result["training"] = {
        "settings": TRAINING,
        "batches": [encode_batch(*batch) for batch in batches],
        **log,
        "adapter": encode_all(final),
        "float32": {
            "losses": log32["losses"],
            "largest_weight_difference": max((final[n] - final32[n]).abs().max().item() for n in final),
        },
    }
    path = pathlib.Path(__file__).with_name(f"decoder.{'tied' if tied else 'untied'}.golden.json")
    path.write_text(json.dumps(result, allow_nan=False) + "\n")

    strays = max(abs(a - b) for a, b in zip(log["losses"], log32["losses"]))
    print(
        f"{path.name}: {path.stat().st_size / 1e3:.0f} kB, loss {log['losses'][0]:.4f} -> {log['losses'][-1]:.4f}, "
        f"float32 logits {difference:.1e}, losses {strays:.1e}, "
        f"weights {result['training']['float32']['largest_weight_difference']:.1e} off"
    )


golden(tied=True)
golden(tied=False)
