"""The transformer: named low-rank adapters on a frozen base, values at chosen places, their vector-Jacobian products, and AdamW."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM

from . import Refused, Restarted

PREFIX = "base_model.model."
SCORE = "score.weight"
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class Adapter:
    lora: dict
    trainable: bool
    # By the name that the caller gives them: PEFT's without its prefix, and without the adapter's own.
    parameters: dict[str, torch.nn.Parameter]
    optimizer: torch.optim.AdamW | None
    step: int


@dataclass
class Batch:
    """Sequences, and the places in each that are looked at."""

    tokens: list[torch.Tensor]
    chosen: list[torch.Tensor]

    def __post_init__(self):
        for i, (tokens, chosen) in enumerate(zip(self.tokens, self.chosen, strict=True)):
            if len(tokens) == 0:
                raise Refused(f"sequence {i} is empty")
            if len(chosen) and (int(chosen.min()) < 0 or int(chosen.max()) >= len(tokens)):
                raise Refused(f"sequence {i} of {len(tokens)} tokens has a chosen place outside")


@dataclass
class Kept:
    """Values of a batch of one micro-batch, with the graph that they came by."""

    name: str
    batch: Batch
    letters: list[int]
    members: list[int]
    values: dict[str, torch.Tensor]

    def serves(self, name: str, batch: Batch, wanted: set[str], letters: list[int]) -> bool:
        """Whether these are the values that are asked for."""

        def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
            return len(one) == len(other) and all(map(torch.equal, one, other))

        told = self.name == name and self.letters == letters and wanted <= self.values.keys()
        return told and same(self.batch.tokens, batch.tokens) and same(self.batch.chosen, batch.chosen)


class Engine:
    def __init__(self, path: str, *, shard: bool = False, dtype: str = "float32", device: str = "cpu"):
        self.device = torch.device(device)
        self.base = AutoModelForCausalLM.from_pretrained(
            path, dtype=getattr(torch, dtype), attn_implementation="sdpa", trust_remote_code=False
        ).to(self.device)
        self.base.requires_grad_(False)
        self.base.eval()
        # Whether factors, held in float32, are multiplied in bfloat16 too; without it what they make is float32, whatever the base is.
        self.mixed = False
        self.shard = shard
        self.sharded = False
        self.peft: PeftModel | None = None
        self.adapters: dict[str, Adapter] = {}
        # What the next `backward` need not compute again. Every call but `get` ends it: under other parameters the values are others.
        self.kept: Kept | None = None
        known = dist.is_initialized()
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if known else (0, 1)

    def describe(self) -> dict:
        config = self.base.config
        keys = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size")
        return {key: getattr(config, key, None) for key in keys}

    # Adapters

    def put(self, name: str, lora: dict, tensors: dict[str, torch.Tensor], trainable: bool, step: int = 0):
        """An adapter, or a whole state to go on from: factors, a scalar head, and AdamW's moments where there are any."""
        self.kept = None
        factors = {key: value for key, value in tensors.items() if "/" not in key}
        if name in self.adapters:
            self.drop(name)
        config = LoraConfig(**lora, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM")
        if self.peft is None:
            self.peft = PeftModel(self.base, config, adapter_name=name, autocast_adapter_dtype=True)
            self.peft.to(self.device)
        else:
            self.peft.add_adapter(name, config)
        parameters = self._named(name)
        if SCORE in factors:
            head = torch.empty(1, self.base.config.hidden_size, device=self.device)
            parameters[SCORE] = torch.nn.Parameter(head)
        try:
            self._fill(parameters, factors)
        except Refused:
            self.peft.delete_adapter(name)
            raise
        optimizer = torch.optim.AdamW(list(parameters.values()), lr=0.0, foreach=True) if trainable else None
        for key, parameter in parameters.items() if optimizer and step > 0 else ():
            first, second = (tensors.get(f"{moment}/{key}") for moment in MOMENTS)
            if first is None or second is None:
                raise Refused(f"step {step} needs moments of every parameter; {key} has none")
            optimizer.state[parameter] = {
                "step": torch.tensor(float(step)),
                "exp_avg": first.to(self.device).reshape(parameter.shape).clone(),
                "exp_avg_sq": second.to(self.device).reshape(parameter.shape).clone(),
            }
        self.adapters[name] = Adapter(lora, trainable, parameters, optimizer, step)
        if self.shard and not self.sharded:
            self._cut()

    def _named(self, name: str) -> dict[str, torch.nn.Parameter]:
        own = f".{name}.weight"
        return {
            key.removeprefix(PREFIX).removesuffix(own) + ".weight": parameter
            for key, parameter in self.peft.named_parameters()
            if key.endswith(own) and "lora_" in key
        }

    def _fill(self, parameters: dict[str, torch.nn.Parameter], values: dict[str, torch.Tensor]):
        missing, unknown = sorted(parameters.keys() - values.keys()), sorted(values.keys() - parameters.keys())
        if missing or unknown:
            raise Refused(f"the adapter's parameters are not this model's: without {missing[:3]}, unknown {unknown[:3]}")
        for key, parameter in parameters.items():
            if parameter.shape != values[key].shape:
                raise Refused(f"{key} is {tuple(values[key].shape)}; on this model it is {tuple(parameter.shape)}")
            with torch.no_grad():
                parameter.copy_(values[key])

    def get(self, name: str, moments: bool = False) -> dict[str, torch.Tensor]:
        adapter = self._adapter(name)
        found = {key: value.detach().float() for key, value in adapter.parameters.items()}
        if moments and adapter.optimizer:
            for key, parameter in adapter.parameters.items():
                state = adapter.optimizer.state.get(parameter, {})
                for moment in MOMENTS:
                    found[f"{moment}/{key}"] = state.get(moment, torch.zeros_like(parameter)).detach()
        return found

    def drop(self, name: str | None):
        """An adapter, or all of them."""
        self.kept = None
        if name is not None:
            self._adapter(name)
        for one in [name] if name is not None else list(self.adapters):
            self.peft.delete_adapter(one)
            del self.adapters[one]

    def _adapter(self, name: str) -> Adapter:
        if name not in self.adapters:
            raise Restarted(f"there is no adapter {name}, so the engine was started again since it was put")
        return self.adapters[name]

    def _cut(self):
        """The frozen base is cut over the workers (FSDP2); factors stay whole on each, and `update` adds their gradients up."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.device.type, (self.world,))
        factors = {parameter for key, parameter in self.peft.named_parameters() if "lora_" in key}
        for layer in self.base.model.layers:
            fully_shard(layer, mesh=mesh, ignored_params=factors)
        fully_shard(self.base.model, mesh=mesh, ignored_params=factors)
        self.sharded = True

    def _use(self, name: str) -> Adapter:
        adapter = self._adapter(name)
        self.peft.set_adapter(name)
        for other in self.adapters.values():
            for parameter in other.parameters.values():
                parameter.requires_grad_(other is adapter and adapter.trainable)
        return adapter

    # Values

    def _values(self, adapter: Adapter, batch: Batch, members: list[int], wanted: set[str], letters: list[int]):
        """Values at the chosen places of some sequences, one after another. [n], logits [n, letters]"""
        longest = max(len(batch.tokens[i]) for i in members)
        ids = torch.zeros(len(members), longest, dtype=torch.long, device=self.device)
        mask = torch.zeros_like(ids)
        for row, i in enumerate(members):
            ids[row, : len(batch.tokens[i])] = batch.tokens[i].to(self.device)
            mask[row, : len(batch.tokens[i])] = 1
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.mixed):
            hidden = self.base.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        rows = torch.cat([torch.full((len(batch.chosen[i]),), row) for row, i in enumerate(members)]).to(self.device)
        places = torch.cat([batch.chosen[i].long() for i in members]).to(self.device)
        states = hidden[rows, places]
        found = {}
        if wanted & {"logprobs", "correct", "entropy"}:
            # Behind a sequence's last token there is none: what is computed there is not asked for.
            behind = torch.nn.functional.pad(ids, (0, 1))
            targets = behind[rows, places + 1][:, None]
            logits = self.base.lm_head(states).float()
            logs = torch.log_softmax(logits, -1)
            found["logprobs"] = logs.gather(1, targets)[:, 0]
            with torch.no_grad():
                if "correct" in wanted:
                    found["correct"] = (logits.gather(1, targets)[:, 0] >= logits.max(1).values).float()
                if "entropy" in wanted:
                    found["entropy"] = -(logs.exp() * logs).sum(-1)
        if "logits" in wanted:
            head = self.base.lm_head.weight[torch.tensor(letters, device=self.device)]
            found["logits"] = states.float() @ head.float().T
        if "scores" in wanted:
            if SCORE not in adapter.parameters:
                raise Refused("scores are asked of an adapter without a scalar head")
            found["scores"] = (states.float() @ adapter.parameters[SCORE].T)[:, 0]
        return {key: value for key, value in found.items() if key in wanted}

    def _micro_batches(self, batch: Batch, tokens: int) -> list[list[int]]:
        """This worker's share, longest first: as many micro-batches as every other worker has, since a cut base is gathered by all."""
        order = sorted(range(len(batch.tokens)), key=lambda i: (-len(batch.tokens[i]), i))
        parts: list[list[int]] = []
        for i in order:
            room = parts and (len(parts[-1]) + 1) * len(batch.tokens[parts[-1][0]]) <= tokens
            if not room:
                parts.append([])
            parts[-1].append(i)
        rounds = -(-len(parts) // self.world)
        own = parts[self.rank :: self.world]
        return own + [[]] * (rounds - len(own))

    def forward(self, name: str, batch: Batch, wanted: set[str], letters: list[int], tokens: int, keep: bool = False):
        """
        Of this worker's sequences, by their place in the batch: values by name. `keep`: a `backward` of the same follows, which then need not
        compute them again. Only one micro-batch is kept, since more would take more memory than `tokens` says.
        """
        self.kept = None
        adapter, found = self._use(name), {}
        parts = self._micro_batches(batch, tokens)
        keep = keep and adapter.trainable and len(parts) == 1
        with torch.set_grad_enabled(keep):
            for members in parts:
                values = self._values(adapter, batch, members or [0], wanted, letters)
                lengths = [len(batch.chosen[i]) for i in members]
                for key, flat in values.items() if members else ():
                    for i, part in zip(members, torch.split(flat.detach(), lengths), strict=True):
                        found.setdefault(key, {})[i] = part.cpu()
        if keep:
            graphs = {key: value for key, value in values.items() if value.requires_grad}
            self.kept = Kept(name, batch, letters, members, graphs)
        return found

    def backward(self, name: str, batch: Batch, cotangents: dict[str, list[torch.Tensor]], letters: list[int], tokens: int):
        """Adds the gradient of the sum of cotangents times values to what the next update applies."""
        adapter = self._use(name)
        if adapter.optimizer is None:
            raise Refused(f"adapter {name} is not trainable")
        kept, self.kept, wanted = self.kept, None, set(cotangents)
        if kept and kept.serves(name, batch, wanted, letters):
            parts = [(kept.members, kept.values)]
        else:
            own = self._micro_batches(batch, tokens)
            parts = ((members, self._values(adapter, batch, members or [0], wanted, letters)) for members in own)
        for members, values in parts:
            total = sum(
                (value * torch.cat([cotangents[key][i] for i in members]).to(self.device)).sum()
                if members
                else value.sum() * 0
                for key, value in values.items()
                if key in wanted
            )
            total.backward()

    def update(self, name: str, *, learning_rate, betas, epsilon, weight_decay, max_grad_norm) -> tuple[float, int]:
        """One step of AdamW on what all workers added up; the gradient's norm before it was clipped, and the steps done."""
        self.kept = None
        adapter = self._adapter(name)
        if adapter.optimizer is None:
            raise Refused(f"adapter {name} is not trainable")
        parameters = list(adapter.parameters.values())
        if all(parameter.grad is None for parameter in parameters) and self.world == 1:
            raise Refused("nothing was accumulated since the last update")
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.world > 1:
            flat = torch.cat([parameter.grad.flatten() for parameter in parameters])
            dist.all_reduce(flat)
            for parameter, part in zip(parameters, torch.split(flat, [p.numel() for p in parameters]), strict=True):
                parameter.grad.copy_(part.reshape(parameter.shape))
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm or float("inf")))
        for group in adapter.optimizer.param_groups:
            group.update(lr=learning_rate, betas=tuple(betas), eps=epsilon, weight_decay=weight_decay)
        if torch.isfinite(torch.tensor(norm)):
            adapter.optimizer.step()
            adapter.step += 1
        for parameter in parameters:
            parameter.grad = None
        return norm, adapter.step
