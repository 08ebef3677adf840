"""The transformer and its derivatives against autograd of the whole, without Ray: python -m unittest tests.py (engine's environment)."""

import asyncio
import tempfile
import unittest

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tenet_engine import Refused, Restarted, body
from tenet_engine.model import SCORE, Batch, Engine

HIDDEN, LAYERS = 16, 2
LORA = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "down_proj"], "use_rslora": False}
UPDATE = {"learning_rate": 0.01, "betas": [0.9, 0.999], "epsilon": 1e-8, "weight_decay": 0.1, "max_grad_norm": 0.5}


def setUpModule():
    global FOLDER
    torch.manual_seed(0)
    FOLDER = tempfile.mkdtemp(prefix="tenet-engine-model-")
    config = LlamaConfig(
        vocab_size=40, hidden_size=HIDDEN, intermediate_size=24, num_hidden_layers=LAYERS, num_attention_heads=2, num_key_value_heads=1
    )
    LlamaForCausalLM(config).save_pretrained(FOLDER)


class Starts(unittest.IsolatedAsyncioTestCase):
    """The mailbox by itself, as the class that Ray makes an actor of."""

    def mailbox(self, world: int):
        from tenet_engine.mailbox import Mailbox

        return Mailbox.__ray_metadata__.modified_class(world)

    async def test_who_came_of_an_earlier_start_is_not_waited_with(self):
        box = self.mailbox(2)
        # Rank 0 is there, rank 1 is lost while it loads; the group is started again, and rank 1 comes first.
        lost = asyncio.create_task(box.join({"rank": 0, "start": "first"}))
        await asyncio.sleep(0)
        joins = [asyncio.create_task(box.join({"rank": rank, "start": "second"})) for rank in (1, 0)]
        epochs = await asyncio.wait_for(asyncio.gather(*joins), 5)
        self.assertEqual(epochs, [2, 2])
        self.assertEqual(await asyncio.wait_for(lost, 5), 1)
        self.assertIsNone(await asyncio.wait_for(box.next(1, 0), 5))
        call = asyncio.create_task(box.call("drop", b"body"))
        for rank in (0, 1):
            self.assertEqual((await asyncio.wait_for(box.next(2, 0), 5))["verb"], "drop")
            await box.answer(2, 0, rank, {"value": rank})
        self.assertEqual(await asyncio.wait_for(call, 5), {"parts": [0, 1]})

    async def test_the_body_of_what_is_refused_is_let_go_when_all_have_read_it(self):
        box = self.mailbox(2)
        await asyncio.gather(*(box.join({"rank": rank, "start": "only"}) for rank in (0, 1)))
        call = asyncio.create_task(box.call("put", b"much"))
        await asyncio.sleep(0)
        await box.answer(1, 0, 0, {"error": "no", "status": 422})
        await asyncio.sleep(0.01)
        self.assertEqual((await box.next(1, 0))["data"], b"much")
        await box.answer(1, 0, 1, {"error": "no", "status": 422})
        self.assertEqual((await asyncio.wait_for(call, 5))["status"], 422)
        self.assertEqual((box.commands, box.answers), ([{}], {}))


def factors(seed: int, head: bool = False) -> dict[str, torch.Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    found = {}
    for layer in range(LAYERS):
        for module, inside, outside in (("self_attn.q_proj", HIDDEN, HIDDEN), ("mlp.down_proj", 24, HIDDEN)):
            path = f"model.layers.{layer}.{module}"
            found[f"{path}.lora_A.weight"] = torch.randn(2, inside, generator=drawn)
            found[f"{path}.lora_B.weight"] = torch.randn(outside, 2, generator=drawn) * 0.1
    if head:
        found[SCORE] = torch.randn(1, HIDDEN, generator=drawn)
    return found


BATCH = Batch(
    [torch.tensor([1, 2, 3, 4, 5]), torch.tensor([7, 8]), torch.tensor([9, 10, 11])],
    [torch.tensor([0, 3]), torch.tensor([0]), torch.tensor([1])],
)
TOKENS = 64


def whole(values: dict[str, torch.Tensor], head: bool = False):
    """The same model with the adapter's product added to its weights, by PyTorch alone: log-probabilities, scores, and the leaves."""
    base = LlamaForCausalLM.from_pretrained(FOLDER)
    leaves = {key: value.clone().requires_grad_() for key, value in values.items()}
    changed = {}
    for key, value in leaves.items():
        if key.endswith("lora_A.weight"):
            path = key.removesuffix(".lora_A.weight")
            product = leaves[f"{path}.lora_B.weight"] @ value
            changed[f"{path}.weight"] = base.get_parameter(f"{path}.weight").detach() + 4 / 2 * product
    logprobs, scores = [], []
    for tokens, chosen in zip(BATCH.tokens, BATCH.chosen, strict=True):
        out = torch.func.functional_call(base, changed, (tokens[None],), {"output_hidden_states": True})
        logs = torch.log_softmax(out.logits[0], -1)
        logprobs += [logs[place, tokens[place + 1]] for place in chosen.tolist()]
        scores += [out.hidden_states[-1][0, place] @ leaves[SCORE][0] for place in chosen.tolist()] if head else []
    return leaves, torch.stack(logprobs), torch.stack(scores) if scores else None


def flat(found: dict[int, torch.Tensor]) -> torch.Tensor:
    return torch.cat([found[i] for i in range(len(found))])


class Values(unittest.TestCase):
    def setUp(self):
        self.engine = Engine(FOLDER)

    def test_values_are_those_of_the_whole(self):
        values = factors(1, head=True)
        self.engine.put("a", LORA, values, True)
        found = self.engine.forward("a", BATCH, {"logprobs", "scores", "entropy", "correct"}, [], TOKENS)
        _, logprobs, scores = whole(values, head=True)
        torch.testing.assert_close(flat(found["logprobs"]), logprobs.detach(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(flat(found["scores"]), scores.detach(), rtol=1e-5, atol=1e-5)
        self.assertTrue(bool((flat(found["entropy"]) > 0).all()))
        # However they are cut into micro-batches.
        apart = self.engine.forward("a", BATCH, {"logprobs"}, [], 5)
        torch.testing.assert_close(flat(apart["logprobs"]), flat(found["logprobs"]), rtol=1e-5, atol=1e-6)

    def test_products_with_the_jacobian_are_autograds_of_the_whole(self):
        values = factors(2, head=True)
        self.engine.put("a", LORA, values, True)
        weights = {"logprobs": torch.tensor([1.0, -2.0, 0.5, 3.0]), "scores": torch.tensor([0.3, 0.0, -1.0, 2.0])}
        cut = {key: list(torch.split(value, [2, 1, 1])) for key, value in weights.items()}
        self.engine.backward("a", BATCH, cut, [], 5)
        leaves, logprobs, scores = whole(values, head=True)
        ((logprobs * weights["logprobs"]).sum() + (scores * weights["scores"]).sum()).backward()
        for key, parameter in self.engine.adapters["a"].parameters.items():
            torch.testing.assert_close(parameter.grad, leaves[key].grad, rtol=1e-4, atol=1e-5, msg=key)

    def test_what_was_kept_is_not_computed_again(self):
        self.engine.put("a", LORA, factors(2, head=True), True)
        passes, wanted = [], {"logprobs", "scores"}
        self.engine.base.model.register_forward_hook(lambda *_: passes.append(1))
        cut = {key: [torch.ones(2), -torch.ones(1), torch.ones(1)] for key in wanted}
        other = Batch(BATCH.tokens, [torch.tensor([1, 2]), *BATCH.chosen[1:]])

        def gradient(batch: Batch, tokens: int, keep: bool, meanwhile=lambda: None) -> tuple[int, torch.Tensor]:
            """How many passes it took, and what came."""
            passes.clear()
            found = self.engine.forward("a", batch, wanted, [], tokens, keep)
            self.assertFalse(any(part.requires_grad for values in found.values() for part in values.values()))
            meanwhile()
            self.engine.backward("a", BATCH, cut, [], tokens)
            own = list(self.engine.adapters["a"].parameters.values())
            made = torch.cat([parameter.grad.flatten() for parameter in own])
            for parameter in own:
                parameter.grad = None
            return len(passes), made

        count, expected = gradient(BATCH, TOKENS, False)
        self.assertEqual(count, 2)
        count, kept = gradient(BATCH, TOKENS, True)
        self.assertEqual(count, 1)
        self.assertTrue(torch.equal(kept, expected))
        # Of more than one micro-batch nothing is kept, nor of other places; and what came between ends it.
        self.assertEqual(gradient(BATCH, 5, True)[0], 6)
        count, again = gradient(other, TOKENS, True)
        self.assertEqual(count, 2)
        self.assertTrue(torch.equal(again, expected))
        count, again = gradient(BATCH, TOKENS, True, lambda: self.engine.put("a", LORA, factors(3, head=True), True))
        self.assertEqual(count, 2)
        self.assertFalse(torch.equal(again, expected))

    def test_a_step_is_adamw_of_the_clipped_gradient(self):
        values = factors(3)
        self.engine.put("a", LORA, values, True)
        self.engine.backward("a", BATCH, {"logprobs": [torch.ones(2), torch.ones(1), torch.ones(1)]}, [], TOKENS)
        norm, step = self.engine.update("a", **UPDATE)
        leaves, logprobs, _ = whole(values)
        logprobs.sum().backward()
        own = torch.optim.AdamW(leaves.values(), lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)
        expected = float(torch.nn.utils.clip_grad_norm_(leaves.values(), 0.5))
        own.step()
        self.assertEqual(step, 1)
        self.assertAlmostEqual(norm, expected, delta=1e-3 * expected)
        for key, value in self.engine.get("a").items():
            torch.testing.assert_close(value, leaves[key].detach(), rtol=1e-4, atol=1e-5, msg=key)


class State(unittest.TestCase):
    def setUp(self):
        self.engine = Engine(FOLDER)

    def learn(self, name: str):
        self.engine.backward(name, BATCH, {"logprobs": [torch.ones(2), -torch.ones(1), torch.ones(1)]}, [], TOKENS)
        self.engine.update(name, **UPDATE)

    def test_a_state_goes_on_to_the_same_numbers(self):
        self.engine.put("a", LORA, factors(4), True)
        self.learn("a")
        state = body.write({}, self.engine.get("a", moments=True))
        self.learn("a")
        expected = self.engine.get("a")
        other = Engine(FOLDER)
        _, again = body.read(state)
        other.put("b", LORA, again, True, step=1)
        self.engine = other
        self.learn("b")
        for key, value in other.get("b").items():
            self.assertTrue(torch.equal(value, expected[key]), key)

    def test_adapters_do_not_touch_each_other(self):
        self.engine.put("a", LORA, factors(5), True)
        self.engine.put("b", LORA, factors(6), False)
        before = self.engine.forward("b", BATCH, {"logprobs"}, [], TOKENS)
        self.learn("a")
        after = self.engine.forward("b", BATCH, {"logprobs"}, [], TOKENS)
        self.assertTrue(torch.equal(flat(before["logprobs"]), flat(after["logprobs"])))
        with self.assertRaises(Refused):
            self.learn("b")

    def test_what_is_not_there_was_lost(self):
        with self.assertRaises(Restarted):
            self.engine.get("a")
        self.engine.put("a", LORA, factors(7), True)
        self.engine.put("b", LORA, factors(8), False)
        self.engine.drop(None)
        self.assertEqual(self.engine.adapters, {})
        with self.assertRaises(Refused):
            self.engine.put("a", LORA, {}, True)


if __name__ == "__main__":
    unittest.main()
