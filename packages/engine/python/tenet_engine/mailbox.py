"""Between the HTTP server and the workers. Each start of the group is an epoch; a command belongs to one."""

import asyncio

import ray


@ray.remote(num_cpus=0)
class Mailbox:
    def __init__(self, world: int):
        self.world = world
        self.epoch = 0
        self.start: str | None = None
        self.members: dict[int, dict] = {}
        self.commands: list = []
        self.answers: dict[int, dict[int, dict]] = {}
        self.changed = asyncio.Condition()
        self.broken: str | None = None

    async def join(self, hello: dict) -> int:
        """A worker is there; returns the epoch when all are. Workers of one start of the group name the same `start`: who came of an
        earlier one, and is no more, is not counted with them."""
        async with self.changed:
            if not self.members or hello["start"] != self.start:
                self.epoch += 1
                self.start = hello["start"]
                self.members, self.commands, self.answers = {}, [], {}
            self.members[hello["rank"]] = hello
            epoch = self.epoch
            self.changed.notify_all()
            await self.changed.wait_for(lambda: len(self.members) == self.world or self.epoch != epoch)
            return epoch

    async def next(self, epoch: int, index: int) -> dict | None:
        """A worker's next command; nothing where its group is no more."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.epoch != epoch or len(self.commands) > index)
            return None if self.epoch != epoch else self.commands[index]

    async def answer(self, epoch: int, index: int, rank: int, result: dict):
        async with self.changed:
            if epoch == self.epoch:
                self.answers.setdefault(index, {})[rank] = result
                if result.get("fatal"):
                    self.members = {}  # this group is ending: further calls are the next one's
                self.changed.notify_all()

    async def call(self, verb: str, data: bytes) -> dict:
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.members) == self.world or self.broken)
            if self.broken:
                return {"broken": self.broken}
            epoch, index = self.epoch, len(self.commands)
            self.commands.append({"verb": verb, "data": data})
            self.changed.notify_all()

            def done():
                # What is refused all refuse, and until the last one has read it the body is needed.
                answers = self.answers.get(index, {})
                lost = any(answer.get("fatal") for answer in answers.values())
                return self.epoch != epoch or self.broken or lost or len(answers) == self.world

            await self.changed.wait_for(done)
            answers = self.answers.get(index, {})
            if self.epoch == epoch and len(answers) == self.world:
                self.commands[index] = {}  # what was computed on is not needed again
                del self.answers[index]
            error = next((answer for answer in answers.values() if "error" in answer), None)
            if error:
                return error
            if self.broken:
                return {"broken": self.broken}
            if self.epoch != epoch:
                return {"restarted": self.epoch}
            return {"parts": [answers[rank]["value"] for rank in range(self.world)]}

    async def fail(self, why: str):
        async with self.changed:
            self.broken = why
            self.changed.notify_all()

    async def state(self) -> dict:
        members = [self.members[rank] for rank in sorted(self.members)]
        return {"epoch": self.epoch, "workers": members, "broken": self.broken}
