"""Recomputes a draw from its published proof. Written from docs/loyalty/contests.md alone: imports nothing of ours.

python tests/contest_verifier.py proof.json
"""

import hashlib
import json
import pathlib
import sys
from typing import Any


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def verify(proof: dict[str, Any]) -> list[str]:
    """What is wrong with a proof; an empty list: nothing."""
    faults = []
    if sha(bytes.fromhex(proof["secret"])).hex() != proof["commitment"]:
        faults.append("the secret is not the one that was committed to")
    if sha(proof["list"].encode("utf-8")).hex() != proof["list_hash"]:
        faults.append("the list is not the one that was frozen")
    text = "\n".join([proof["algorithm"], proof["contest"], proof["list_hash"], proof["secret"], proof["beacon"] or ""])
    seed = sha(text.encode("utf-8"))
    if seed.hex() != proof["seed"]:
        faults.append("the seed does not follow from the list, the secret and the beacon")
    expected = recompute(proof["list"], seed, len(proof["places"]))
    if expected != [place["entry_id"] for place in proof["places"]]:
        faults.append("the places do not follow from the seed")
    standing = [place for place in proof["places"] if place["state"] != "disqualified"]
    states = ["won"] * min(proof["winners"], len(standing))
    states += ["alternate"] * (len(standing) - len(states))
    if [place["state"] for place in standing] != states:
        faults.append("an alternate was passed over")
    return faults


def recompute(listed: str, seed: bytes, wanted: int) -> list[str]:
    """Every chance is written out as a slot of its own, so that nothing clever can go wrong."""
    people = [(line.split(",")[1], int(line.split(",")[2])) for line in listed.split("\n") if line]
    order: list[str] = []
    counter = 0
    while people and len(order) < wanted:
        slots = sum(weight for _, weight in people)
        while True:
            number = int(sha(seed + counter.to_bytes(8, "big")).hex(), 16)
            counter += 1
            if number < (2**256 // slots) * slots:
                break
        slot = number % slots
        for person, weight in people:
            if slot < weight:
                order.append(person)
                people.remove((person, weight))
                break
            slot -= weight
    return order


if __name__ == "__main__":
    found = verify(json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")))
    print("\n".join(found) or "the draw is as published")  # noqa: T201  a program for people
    sys.exit(bool(found))
