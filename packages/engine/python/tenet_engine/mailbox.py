"""Between the HTTP server and the workers. Each start of the group is an epoch; a command belongs to one."""

import asyncio

import ray


@ray.remote(num_cpus=0)
class Mailbox:
    def __init__(self, world: int):
        self.world = world
        self.epoch = 0
        self.members: dict[int, dict] = {}
        self.commands: list = []
        self.answers: dict[int, dict[int, dict]] = {}
        self.changed = asyncio.Condition()
        self.broken: str | None = None

    async def join(self, hello: dict) -> int:
        """A worker is there; returns the epoch when all are."""
        async with self.changed:
            if not self.members or hello["rank"] in self.members:
                self.epoch += 1
                self.members, self.commands, self.answers = {}, [], {}
            self.members[hello["rank"]] = hello
            epoch = self.epoch
            self.changed.notify_all()
            await self.changed.wait_for(lambda: len(self.members) == self.world or self.epoch != epoch)
            return self.epoch

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
                answers = self.answers.get(index, {})
                failed = any("error" in answer for answer in answers.values())
                return self.epoch != epoch or self.broken or failed or len(answers) == self.world

            await self.changed.wait_for(done)
            answers = self.answers.get(index, {})
            error = next((answer for answer in answers.values() if "error" in answer), None)
            if error:
                return error
            if self.broken:
                return {"broken": self.broken}
            if self.epoch != epoch:
                return {"restarted": self.epoch}
            self.commands[index] = {}  # what was computed on is not needed again
            del self.answers[index]
            return {"parts": [answers[rank]["value"] for rank in range(self.world)]}

    async def fail(self, why: str):
        async with self.changed:
            self.broken = why
            self.changed.notify_all()

    async def state(self) -> dict:
        members = [self.members[rank] for rank in sorted(self.members)]
        return {"epoch": self.epoch, "workers": members, "broken": self.broken}
