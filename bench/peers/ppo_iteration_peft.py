"""One iteration of PPO in PyTorch with transformers and PEFT, the very work of ours: rollout, four scorings, epochs over two networks.

TRL 1.16 has no PPO; this follows the loop of its former PPOTrainer (PPOv2Trainer in 0.11), chosen for speed: one base under two
adapters (policy and value network) instead of four models, the policy's factors merged while it writes, all replies in one batch with
a static cache, the head for the replies' tokens only, scorings without gradient in batches as large as the updates'. Reference and
preference model are the base with adapters switched off: the latter would have an adapter of its own, which a merged copy saves.
"""

import os

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")

import contestant
import torch
from peft import LoraConfig, get_peft_model
from smollm import load
from torch.nn.functional import cross_entropy
from training import LORA

BETA, LAMBDA, CLIP, VALUE_CLIP, VALUE_COEFFICIENT, LEARNING_RATE = 0.05, 0.95, 0.2, 0.2, 0.1, 5e-5

task = contestant.task()
prompts, new = [prompt["tokens"] for prompt in task["prompts"]], task["newTokens"]
size = len(prompts) // task["minibatches"]
torch.manual_seed(0)
torch.set_default_device(contestant.device)
base, _ = load(task["model"])
base.generation_config.eos_token_id = None  # nothing ends a reply early
lora = LoraConfig(
    r=16,
    lora_alpha=32,
    **LORA,
)
model = get_peft_model(base, lora, adapter_name="policy")
model.add_adapter("value", lora)
value_head, reward_head = (torch.nn.Linear(base.config.hidden_size, 1, bias=False) for _ in range(2))


def optimizer(adapter, *more):
    own = [factor for name, factor in model.named_parameters() if f".{adapter}." in name]
    return torch.optim.AdamW([*own, *more], lr=LEARNING_RATE, weight_decay=0.0)


optimizers = {"policy": optimizer("policy"), "value": optimizer("value", value_head.weight)}

longest = max(map(len, prompts))
padded = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
prompt_mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
mask = torch.cat([prompt_mask, torch.ones(len(prompts), new, dtype=torch.long)], dim=1)
positions = (mask.cumsum(1) - 1).clamp(min=0)


def hidden_of(ids, rows):
    """Hidden states [rows, new + 1] from the one that predicts a reply's first token on, under the active adapter."""
    hidden = base.model(input_ids=ids[rows], attention_mask=mask[rows], position_ids=positions[rows], use_cache=False)
    return hidden.last_hidden_state[:, -new - 1 :]


def logprobs_of(ids, rows):
    logits = base.lm_head(hidden_of(ids, rows)[:, :-1].flatten(0, 1))
    return -cross_entropy(logits, ids[rows, -new:].flatten(), reduction="none").view(-1, new)


def values_of(ids, rows):
    return value_head(hidden_of(ids, rows)[:, :-1])[..., 0]


@torch.no_grad()
def scored(of, ids):
    return torch.cat([of(ids, rows) for rows in torch.arange(len(prompts)).split(size)])


@torch.no_grad()
def rollout():
    model.merge_adapter(["policy"])
    ids = model.generate(
        input_ids=padded,
        attention_mask=prompt_mask,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=new,
        cache_implementation="static",
    )
    model.unmerge_adapter()
    return ids


def advantages_of(rewards, values):
    """Generalised advantage estimation with gamma = 1. [replies, new] each."""
    advantages, following = torch.zeros_like(rewards), rewards.new_zeros(len(rewards))
    for t in reversed(range(new)):
        later = values[:, t + 1] if t + 1 < new else rewards.new_zeros(len(rewards))
        following = rewards[:, t] + later - values[:, t] + LAMBDA * following
        advantages[:, t] = following
    return advantages


def update(adapter, loss):
    loss.backward()
    own = [parameter for group in optimizers[adapter].param_groups for parameter in group["params"]]
    torch.nn.utils.clip_grad_norm_(own, 1.0)
    optimizers[adapter].step()
    optimizers[adapter].zero_grad()


def round():
    model.set_adapter("policy")
    model.eval()
    ids = rollout()
    old_logprobs = scored(logprobs_of, ids)
    with model.disable_adapter():
        reference = scored(logprobs_of, ids)
        scores = scored(lambda *which: reward_head(hidden_of(*which)[:, -1]), ids)[:, 0]
    model.set_adapter("value")
    old_values = scored(values_of, ids)
    rewards = -BETA * (old_logprobs - reference)
    rewards[:, -1] += scores
    advantages = advantages_of(rewards, old_values)
    returns = advantages + old_values
    advantages = (advantages - advantages.mean()) / (advantages.var() + 1e-8).sqrt()

    model.train()
    losses = []
    for _ in range(task["epochs"]):
        for rows in torch.randperm(len(prompts)).split(size):
            model.set_adapter("policy")
            ratio = (logprobs_of(ids, rows) - old_logprobs[rows]).exp()
            clipped = ratio.clamp(1 - CLIP, 1 + CLIP)
            loss = torch.max(-ratio * advantages[rows], -clipped * advantages[rows]).mean()
            losses.append(loss.item())
            update("policy", loss)
            model.set_adapter("value")
            values = values_of(ids, rows)
            near = old_values[rows] + (values - old_values[rows]).clamp(-VALUE_CLIP, VALUE_CLIP)
            errors = torch.max((values - returns[rows]) ** 2, (near - returns[rows]) ** 2)
            update("value", VALUE_COEFFICIENT * 0.5 * errors.mean())
    return {
        "work": ids[:, longest:].numel(),
        "prompt_tokens": int(prompt_mask.sum()),
        "loss": sum(losses) / len(losses),
        "notes": {"updates": len(losses)},
    }


contestant.serve(round)
