"""What one worker of an engine does in a second, in bfloat16 and in float32, beside the same work written plainly with PyTorch and PEFT.

    python measure.py [--device cuda|cpu] [--small] [--seconds 100] [--out results.json]

The model is a random Llama of some 1.1 billion parameters, made here: nothing is fetched, and neither Ray nor Node is needed. Verbs go through their
bodies as a caller's do, so that writing and reading them is counted; the loss, which is the caller's, is computed here as Tenet computes it.
Each part is written to `--out` as soon as it is there; those that there is no time left for are named.
"""

import argparse
import json
import os
import tempfile
import time

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")

import torch
import transformers
from peft import LoraConfig, PeftModel
from peft import __version__ as peft_version
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from tenet_engine import body
from tenet_engine.model import SCORE, Engine
from tenet_engine.verbs import perform, together

LARGE = {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4, "vocab_size": 32000}
SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512}
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORA = {"r": 16, "lora_alpha": 32, "target_modules": MODULES, "use_rslora": False}
RATE, CLIP, VALUE_CLIP, BETA, LAMBDA = 1e-4, 0.2, 0.2, 0.05, 0.95
ADAM = {"learningRate": RATE, "betas": [0.9, 0.999], "epsilon": 1e-8, "weightDecay": 0.0, "maxGradNorm": 1.0}


class Work:
    """Sequences of a prompt and a reply each, by a seed. [rows, time]"""

    def __init__(self, rows: int, time_: int, vocabulary: int, seed: int):
        self.rows, self.time, self.reply = rows, time_, time_ // 2
        self.ids = torch.randint(3, vocabulary, (rows, time_), generator=torch.Generator().manual_seed(seed))
        # A place predicts the token behind it.
        self.places = torch.arange(time_ - self.reply - 1, time_ - 1)

    @property
    def tokens(self) -> int:
        return self.ids.numel()

    def some(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """Tensors of a request."""
        n = len(rows)
        return {
            "tokens": self.ids[rows].flatten().int(),
            "lengths": torch.full((n,), self.time, dtype=torch.int32),
            "chosen": self.places.repeat(n).int(),
            "chosenLengths": torch.full((n,), self.reply, dtype=torch.int32),
        }

    def replies(self, device) -> torch.Tensor:
        return self.ids[:, -self.reply :].to(device)


def ask(engine: Engine, verb: str, meta: dict, tensors: dict | None = None) -> dict[str, torch.Tensor]:
    """A verb, through its body there and back."""
    given, found = body.read(body.write(meta, tensors or {}))
    return body.read(together(verb, [perform(engine, verb, given, found)]))[1]


def factors(path: str, seed: int, head: bool) -> dict[str, torch.Tensor]:
    """An adapter as training begins from it: A random, B zero."""
    drawn = torch.Generator().manual_seed(seed)
    config = LlamaConfig.from_pretrained(path)
    hidden, inside = config.hidden_size, config.intermediate_size
    keys = hidden // config.num_attention_heads * config.num_key_value_heads
    shapes = {"q_proj": (hidden, hidden), "k_proj": (hidden, keys), "v_proj": (hidden, keys), "o_proj": (hidden, hidden)}
    shapes |= {"gate_proj": (hidden, inside), "up_proj": (hidden, inside), "down_proj": (inside, hidden)}
    found = {}
    for layer in range(config.num_hidden_layers):
        for module, (wide, out) in shapes.items():
            part = "mlp" if module in ("gate_proj", "up_proj", "down_proj") else "self_attn"
            at = f"model.layers.{layer}.{part}.{module}"
            found[f"{at}.lora_A.weight"] = (torch.rand(16, wide, generator=drawn) * 2 - 1) * wide**-0.5
            found[f"{at}.lora_B.weight"] = torch.zeros(out, 16)
    if head:
        found[SCORE] = torch.randn(1, hidden, generator=drawn) * hidden**-0.5
    return found


class Engines:
    """Trainings as Tenet asks an engine for them: values, the loss's slope by them, its product, a step."""

    def __init__(self, path: str, dtype: str, device: str, micro: int, mixed: bool):
        self.engine = Engine(path, dtype=dtype, device=device)
        self.engine.mixed = mixed
        self.path, self.micro = path, micro

    def put(self, name: str, trainable: bool, head: bool = False):
        lora = {"name": name, "lora": LORA, "trainable": trainable}
        ask(self.engine, "put", lora, factors(self.path, 1, head))

    def values(self, name: str, what: str, work: Work, rows: torch.Tensor, keep: bool = False) -> torch.Tensor:
        asked = {"name": name, "wanted": [what], "microBatchTokens": self.micro, "keep": keep}
        return ask(self.engine, "forward", asked, work.some(rows))[what].view(len(rows), work.reply)

    def learn(self, name: str, what: str, work: Work, rows: torch.Tensor, loss_of) -> float:
        values = self.values(name, what, work, rows, keep=True).requires_grad_()
        loss = loss_of(values)
        (slope,) = torch.autograd.grad(loss, values)
        asked = {"name": name, "microBatchTokens": self.micro}
        ask(self.engine, "backward", asked, {**work.some(rows), f"cotangent/{what}": slope.flatten().contiguous()})
        ask(self.engine, "update", {"name": name, **ADAM})
        return loss.item()

    def factors(self, name: str) -> torch.Tensor:
        return flat(ask(self.engine, "get", {"name": name}))

    def close(self):
        del self.engine


class Plain:
    """The same trainings as one program: one graph from the tokens to the loss."""

    def __init__(self, path: str, dtype: str, device: str, micro: int, mixed: bool):
        base = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype), attn_implementation="sdpa").to(device)
        base.requires_grad_(False)
        self.base, self.path, self.device, self.mixed, self.micro = base, path, device, mixed, micro
        self.peft, self.optimizers, self.heads = None, {}, {}

    def put(self, name: str, trainable: bool, head: bool = False):
        config = LoraConfig(**LORA, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM")
        if self.peft is None:
            self.peft = PeftModel(self.base, config, adapter_name=name).to(self.device)
        else:
            self.peft.add_adapter(name, config)
        given = factors(self.path, 1, head)
        own = self._own(name)
        with torch.no_grad():
            for key, parameter in own.items():
                parameter.copy_(given[key])
        if head:
            self.heads[name] = given[SCORE].to(self.device).requires_grad_()
            own[SCORE] = self.heads[name]
        if trainable:
            self.optimizers[name] = torch.optim.AdamW(own.values(), lr=RATE, weight_decay=0.0)

    def _own(self, name: str) -> dict[str, torch.nn.Parameter]:
        return {
            key.removeprefix("base_model.model.").removesuffix(f".{name}.weight") + ".weight": parameter
            for key, parameter in self.peft.named_parameters()
            if key.endswith(f".{name}.weight") and "lora_" in key
        }

    def _values(self, name: str, what: str, work: Work, rows: torch.Tensor) -> torch.Tensor:
        ids = work.ids[rows].to(self.device)
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.mixed):
            hidden = self.base.model(input_ids=ids, use_cache=False).last_hidden_state[:, work.places.to(self.device)]
        if what == "scores":
            return (hidden.float() @ self.heads[name].T)[..., 0]
        logs = self.base.lm_head(hidden).float().log_softmax(-1)
        return logs.gather(-1, ids[:, -work.reply :, None])[..., 0]

    def _parts(self, work: Work, rows: torch.Tensor):
        return rows.split(max(1, self.micro // work.time))

    def values(self, name: str, what: str, work: Work, rows: torch.Tensor) -> torch.Tensor:
        self.peft.set_adapter(name)
        with torch.no_grad():
            return torch.cat([self._values(name, what, work, part) for part in self._parts(work, rows)]).cpu()

    def learn(self, name: str, what: str, work: Work, rows: torch.Tensor, loss_of) -> float:
        self.peft.set_adapter(name)
        parameters = [parameter for group in self.optimizers[name].param_groups for parameter in group["params"]]
        for parameter in parameters:
            parameter.requires_grad_()
        total, at = 0.0, 0
        for part in self._parts(work, rows):
            loss = loss_of(self._values(name, what, work, part), slice(at, at + len(part)))
            loss.backward()
            total, at = total + loss.detach(), at + len(part)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        self.optimizers[name].step()
        self.optimizers[name].zero_grad()
        return float(total)

    def factors(self, name: str) -> torch.Tensor:
        return flat(self._own(name))

    def close(self):
        del self.base, self.peft, self.optimizers


def flat(values: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([values[key].detach().float().flatten().cpu() for key in sorted(values) if "lora_" in key])


ALL = slice(None)


def sft(trainer, works: list[Work]) -> list[float]:
    """Updates of supervised fine-tuning, one for each of the works: mean negative log-probability of the replies' tokens."""
    losses = []
    for work in works:
        count = work.rows * work.reply
        losses.append(trainer.learn("sft", "logprobs", work, torch.arange(work.rows), lambda values, _=ALL: -values.sum() / count))
    return losses


def ppo(trainer, work: Work, minibatch: int) -> list[float]:
    """The learning of an iteration of PPO with a value network: everything but the sampling."""
    rows = torch.arange(work.rows)
    old = trainer.values("policy", "logprobs", work, rows)
    reference = trainer.values("reference", "logprobs", work, rows)
    values = trainer.values("value", "scores", work, rows)
    rewards = -BETA * (old - reference)
    rewards[:, -1] += (work.ids.sum(1) % 7) / 7
    advantages, following = torch.zeros_like(rewards), torch.zeros(work.rows)
    for t in reversed(range(work.reply)):
        later = values[:, t + 1] if t + 1 < work.reply else torch.zeros(work.rows)
        following = rewards[:, t] + later - values[:, t] + LAMBDA * following
        advantages[:, t] = following
    returns = advantages + values
    advantages = (advantages - advantages.mean()) / (advantages.var() + 1e-8).sqrt()
    losses = []
    for part in rows.split(minibatch):
        count = len(part) * work.reply

        def policy(now, some=ALL):
            own = [tensor[part][some].to(now.device) for tensor in (old, advantages)]
            ratio = (now - own[0]).exp()
            return torch.max(-ratio * own[1], -ratio.clamp(1 - CLIP, 1 + CLIP) * own[1]).sum() / count

        def critic(now, some=ALL):
            was, wanted = [tensor[part][some].to(now.device) for tensor in (values, returns)]
            near = was + (now - was).clamp(-VALUE_CLIP, VALUE_CLIP)
            return 0.5 * torch.max((now - wanted) ** 2, (near - wanted) ** 2).sum() / count

        losses.append(trainer.learn("policy", "logprobs", work, part, policy))
        losses.append(trainer.learn("value", "scores", work, part, critic))
    return losses


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seconds", type=float, default=100)
    parser.add_argument("--out")
    given = parser.parse_args()
    began = time.perf_counter()
    cuda = given.device == "cuda"
    shape = SMALL if given.small else LARGE
    long, rows = (32, 4) if given.small else (512, 16)
    micro = rows * long
    results: dict = {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft_version},
        "model": shape,
        "sft": f"{rows} sequences of {long} tokens an update, half of each a reply, rank 16 on all seven projections",
        "ppo": f"{2 * rows} sequences an iteration, its learning in 2 minibatches, without the sampling",
        "parts": {},
    }

    def keep():
        results["seconds"] = round(time.perf_counter() - began, 1)
        if given.out:
            with open(given.out, "w") as file:
                json.dump(results, file, indent=1)

    folder = tempfile.mkdtemp(prefix="tenet-measure-")
    torch.manual_seed(0)
    with torch.device(given.device):
        made = LlamaForCausalLM(LlamaConfig(**shape, max_position_embeddings=2048, tie_word_embeddings=False)).to(torch.bfloat16)
    results["parameters"] = made.num_parameters()
    made.save_pretrained(folder)
    del made
    keep()

    def timed(work) -> tuple[float, object]:
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        value = work()
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start, value

    adapters: dict[str, torch.Tensor] = {}

    def part(name: str, kind, dtype: str, mixed: bool, updates: int, iterations: int, tf32: bool = False):
        if time.perf_counter() - began > given.seconds:
            results.setdefault("noTimeFor", []).append(name)
            return keep()
        torch.backends.cuda.matmul.allow_tf32 = tf32
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        opening, trainer = timed(lambda: kind(folder, dtype, given.device, micro, mixed))
        found = {"openSeconds": opening}
        trainer.put("sft", True)
        works = [Work(rows, long, shape["vocab_size"], seed) for seed in range(updates + 2)]
        _, first = timed(lambda: sft(trainer, works[:2]))  # kernels are chosen and compiled in the first ones
        seconds, losses = timed(lambda: sft(trainer, works[2:]))
        found["sftTokensPerSecond"] = sum(work.tokens for work in works[2:]) / seconds
        found["sftLosses"] = first + losses
        adapters[name] = trainer.factors("sft")
        if cuda:
            found["sftPeakBytes"] = torch.cuda.max_memory_allocated()
        if iterations > 0:
            trainer.put("policy", True)
            trainer.put("reference", False)
            trainer.put("value", True, head=True)
            batches = [Work(2 * rows, long, shape["vocab_size"], 100 + seed) for seed in range(iterations + 1)]
            _, first = timed(lambda: ppo(trainer, batches[0], rows))
            seconds, losses = timed(lambda: [ppo(trainer, batch, rows) for batch in batches[1:]])
            found["ppoTokensPerSecond"] = sum(batch.tokens for batch in batches[1:]) / seconds
            found["ppoLosses"] = first + sum(losses, [])
        trainer.close()
        results["parts"][name] = found
        keep()
        print(json.dumps({"part": name, **{key: value for key, value in found.items() if "Losses" not in key}}), flush=True)

    part("engine bfloat16", Engines, "bfloat16", False, 10, 3)
    part("engine bfloat16, factors multiplied in bfloat16", Engines, "bfloat16", True, 10, 3)
    part("plain bfloat16", Plain, "bfloat16", True, 10, 3)
    part("engine float32", Engines, "float32", False, 4, 1)
    part("plain float32", Plain, "float32", False, 4, 1)
    part("engine float32 by TF32", Engines, "float32", False, 4, 0, tf32=True)

    def apart(one: str, other: str):
        """Worst relative difference of a loss, and of the adapters over the distance that training moved."""
        if one not in adapters or other not in adapters:
            return
        a, b = (results["parts"][name]["sftLosses"] for name in (one, other))
        shared = min(len(a), len(b))
        found = {"loss": max(abs(x - y) / abs(x) for x, y in zip(a[:shared], b[:shared], strict=True))}
        if len(a) == len(b):
            start = flat(factors(folder, 1, False))
            found["adapter"] = float((adapters[one] - adapters[other]).norm() / (adapters[one] - start).norm())
        results.setdefault("apart", {})[f"{one} / {other}"] = found

    apart("engine float32", "plain float32")
    apart("engine float32", "engine float32 by TF32")
    apart("engine float32", "engine bfloat16")
    apart("engine bfloat16", "plain bfloat16")
    apart("engine bfloat16", "engine bfloat16, factors multiplied in bfloat16")
    keep()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
