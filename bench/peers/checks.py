"""A constitution's checks on replies, as the task of the main job brings them: patterns, words, and `any` of several."""

import re
from functools import cache


@cache
def _compiled(pattern):
    return re.compile(pattern, re.IGNORECASE)


def _matches(patterns, text):
    return any(_compiled(pattern).search(text) for pattern in patterns)


def _holds(rule, response):
    if "must" in rule:
        return _matches(rule["must"], response)
    if "mustNot" in rule:
        return not _matches(rule["mustNot"], response)
    if "words" in rule:
        bounds, count = rule["words"], len(response.split())
        return bounds.get("min", 0) <= count <= bounds.get("max", count)
    if "any" in rule:
        return any(_holds(part, response) for part in rule["any"])
    raise NotImplementedError(f"a check of a kind that the constitution of the main job does not have: {rule}")


def results(principle, question, response):
    """[(check, violated)] of the checks that apply to the question."""
    return [
        (check, not _holds(check, response))
        for check in principle["checks"]
        if ("when" not in check or _matches(check["when"], question))
        and not ("unless" in check and _matches(check["unless"], question))
    ]


def broken(principle, question, response):
    """Names of the checks that the response violates."""
    return [check["name"] for check, violated in results(principle, question, response) if violated]


def passes(principles, question, response):
    return not any(broken(principle, question, response) for principle in principles)


def reward(principles, question, response):
    """1 - 2 x the weighted mean of the worst violations of the principles that apply; 0 where none does."""
    weights = lost = 0
    for principle in principles:
        found = results(principle, question, response)
        if found:
            weights += principle["weight"]
            lost += principle["weight"] * max(check["severity"] * violated for check, violated in found)
    return 1 - 2 * lost / weights if weights else 0
