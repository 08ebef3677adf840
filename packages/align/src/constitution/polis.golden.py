# Votes of a Polis export and its group-aware consensus, by pandas alone: what polis.test.ts compares with.
#   pip install pandas==2.3.3
#   python polis.golden.py                      makes the synthetic export in polis.golden.export/ and polis.golden.json
#   python polis.golden.py FOLDER [OUT.json]    the same figures of another export
import json
import os
import random
import sys

import pandas


def figures(folder):
    comments = pandas.read_csv(os.path.join(folder, "comments.csv"))
    votes = pandas.read_csv(os.path.join(folder, "participants-votes.csv"))
    kept = comments[comments["moderated"] != -1]["comment-id"].astype(str).tolist()
    kept = [column for column in kept if column in votes.columns]
    long = votes.dropna(subset=["group-id"]).melt(
        id_vars=["participant", "group-id"], value_vars=kept, var_name="statement", value_name="vote"
    ).dropna(subset=["vote"])
    seen = long.groupby(["group-id", "statement"])["vote"].agg(agree=lambda v: (v == 1).sum(), all="count")
    full = pandas.MultiIndex.from_product([sorted(votes["group-id"].dropna().unique()), kept], names=["group-id", "statement"])
    seen = seen.reindex(full, fill_value=0)
    seen["share"] = (seen["agree"] + 1) / (seen["all"] + 2)
    consensus = seen["share"].groupby("statement").prod()
    groups = votes["group-id"].dropna().nunique()
    return {
        "statements": int(len(comments)),
        "rejected": int((comments["moderated"] == -1).sum()),
        "groups": int(groups),
        "grouped": int(votes["group-id"].notna().sum()),
        "participants": int(len(votes)),
        "votes": int(long.shape[0]),
        "consensus": {statement: float(consensus[statement]) for statement in kept},
        "weight": {statement: float(consensus[statement] ** (1 / groups)) for statement in kept},
        "enters": sorted(
            [s for s in kept if (seen.xs(s, level="statement")["share"] >= 0.5).all() and (seen.xs(s, level="statement")["all"] > 0).all()], key=int
        ),
    }


def synthetic(folder):
    """Two groups of opposite minds on half of the statements, and people who voted too little for a group."""
    draw = random.Random(7)
    os.makedirs(folder, exist_ok=True)
    words = ["honest", "brief", "kind", "funny", "careful", "bold", "neutral", "loyal", "strict", "open", "formal", "playful"]
    with open(os.path.join(folder, "comments.csv"), "w", encoding="utf-8", newline="") as out:
        out.write("timestamp,datetime,comment-id,author-id,agrees,disagrees,moderated,comment-body\n")
        for i, word in enumerate(words):
            moderated = -1 if i == 3 else 1 if i % 2 else 0
            body = f'"The assistant should be {word}, and say ""why"".\n"' if i % 5 == 0 else f"The assistant should be {word}"
            out.write(f"{1000 + i},Thu Jan 01 00:00:0{i % 10} UTC 2015,{i},{i % 4},0,0,{moderated},{body}\n")
    with open(os.path.join(folder, "participants-votes.csv"), "w", encoding="utf-8", newline="") as out:
        out.write("participant,group-id,n-comments,n-votes,n-agree,n-disagree," + ",".join(map(str, range(len(words)))) + "\n")
        for person in range(60):
            group = "" if person % 5 == 4 else str(person % 2)
            cells = []
            for i in range(len(words)):
                if draw.random() < 0.3 or (group == "" and i > 2):
                    cells.append("")
                    continue
                mind = 0.85 if i % 2 == 0 else 0.8 if person % 2 == 0 else 0.2
                u = draw.random()
                cells.append("1" if u < mind - 0.05 else "0" if u < mind + 0.05 else "-1")
            said = [c for c in cells if c]
            out.write(f"{person},{group},0,{len(said)},{said.count('1')},{said.count('-1')}," + ",".join(cells) + "\n")


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    if len(sys.argv) > 1:
        text = json.dumps(figures(sys.argv[1]), indent=1)
        if len(sys.argv) > 2:
            open(sys.argv[2], "w").write(text + "\n")
        else:
            print(text)
    else:
        folder = os.path.join(here, "polis.golden.export")
        synthetic(folder)
        open(os.path.join(here, "polis.golden.json"), "w").write(
            json.dumps({"versions": {"pandas": pandas.__version__}, **figures(folder)}, indent=1) + "\n"
        )
