"""Chemistry questions with numerical options."""

from __future__ import annotations

import random

from infra.sample.training.numerical import Draft, numeric, upto

_MOLAR = {
    "water": 18, "carbon dioxide": 44, "methane": 16, "ammonia": 17, "sodium hydroxide": 40,
    "calcium carbonate": 100, "oxygen gas": 32, "nitrogen gas": 28, "glucose": 180, "ethanol": 46,
}  # fmt: skip
_SOLUTES = ["salt", "sugar", "glucose", "hydrochloric acid", "sodium hydroxide", "ammonia", "urea"]


@numeric("Chemistry", "Stoichiometry")
def _moles(rng: random.Random, level: int) -> Draft:
    substance, n = rng.choice(list(_MOLAR)), upto(rng, level, 2, 12)
    m = _MOLAR[substance]
    question = f"How many moles are in {n * m} g of {substance} (molar mass {m} g/mol)?"
    return Draft(
        question,
        n,
        "mol",
        f"Amount is mass over molar mass: {n * m}/{m} = {n}.",
        (n + 1, n + 2, 2 * n, m),
    )


@numeric("Chemistry", "Stoichiometry")
def _mass(rng: random.Random, level: int) -> Draft:
    substance, n = rng.choice(list(_MOLAR)), upto(rng, level, 2, 9)
    m = _MOLAR[substance]
    question = f"What is the mass of {n} mol of {substance} (molar mass {m} g/mol)?"
    return Draft(
        question,
        n * m,
        "g",
        f"Mass is amount times molar mass: {n}*{m} = {n * m}.",
        (n + m, n * m + m, n * m - n, 10 * n),
    )


@numeric("Chemistry", "Solutions")
def _dilution(rng: random.Random, level: int) -> Draft:
    c, k, v = upto(rng, level, 2, 12), upto(rng, level, 2, 6), 10 * upto(rng, level, 1, 9)
    solute = rng.choice(_SOLUTES)
    question = (
        f"A chemist dilutes {v} mL of a {c * k} mol/L solution of {solute} to {v * k} mL. "
        "What is the new concentration?"
    )
    reasoning = f"The volume grows by {v * k}/{v} = {k}. The concentration is {c * k}/{k} = {c}."
    return Draft(question, c, "mol/L", reasoning, (c * k, k, c + 1, c + k))


@numeric("Chemistry", "Solutions")
def _molarity(rng: random.Random, level: int) -> Draft:
    c, v, solute = upto(rng, level, 2, 12), upto(rng, level, 2, 9), rng.choice(_SOLUTES)
    question = (
        f"For {v} L of solution, {c * v} mol of {solute} are used. What is the concentration?"
    )
    return Draft(
        question,
        c,
        "mol/L",
        f"Concentration is amount over volume: {c * v}/{v} = {c}.",
        (c * v, v, c + 1, c + v),
    )


@numeric("Chemistry", "General chemistry")
def _neutrons(rng: random.Random, level: int) -> Draft:
    z = rng.randint(3, 60)
    n = z + rng.randint(0, z // 2)
    question = f"An atom has {z} protons and mass number {z + n}. How many neutrons does it have?"
    reasoning = f"Neutrons are mass number less protons: {z + n}-{z} = {n}."
    return Draft(question, n, "neutrons", reasoning, (z, z + n, n + 1, n + 2))


@numeric("Chemistry", "General chemistry")
def _ion(rng: random.Random, level: int) -> Draft:
    z, charge = rng.randint(6, 56), rng.randint(1, 3)
    sign = rng.choice(["+", "-"])
    n = z - charge if sign == "+" else z + charge
    question = f"How many electrons does an ion with {z} protons and charge {charge}{sign} have?"
    verb = "lost" if sign == "+" else "gained"
    other = "-" if sign == "+" else "+"
    reasoning = f"The ion has {verb} {charge} electrons: {z}{other}{charge} = {n}."
    return Draft(question, n, "electrons", reasoning, (z, 2 * z - n, n + 1, n + 2))


@numeric("Chemistry", "General chemistry")
def _ph(rng: random.Random, level: int) -> Draft:
    n = rng.randint(1, 13)
    which = rng.choice(["hydrogen", "hydroxide"])
    sample = rng.choice(["solution", "sample", "buffer", "liquid", "mixture", "waste water"])
    question = f"What is the pH of a {sample} with a {which} ion concentration of 10^-{n} mol/L?"
    if which == "hydrogen":
        return Draft(
            question, n, "", f"The pH is the negative exponent: {n}.", (14 - n, n + 1, n + 7, n + 2)
        )
    return Draft(
        question,
        14 - n,
        "",
        f"The pOH is {n}. The pH is 14-{n} = {14 - n}.",
        (n, 15 - n, n + 7, 16 - n),
    )


@numeric("Chemistry", "Organic chemistry")
def _alkane(rng: random.Random, level: int) -> Draft:
    carbons = upto(rng, level, 2, 30)
    kind, extra = rng.choice([("alkane", 2), ("alkene with one double bond", 0), ("alkyne", -2)])
    chain = rng.choice(["An open-chain", "A branched", "An unbranched", "A simple"])
    hydrogens = 2 * carbons + extra
    question = f"{chain} {kind} has {carbons} carbon atoms. How many hydrogen atoms does it have?"
    tail = {2: "Add 2 for the ends.", 0: "That is all.", -2: "Take off 2."}[extra]
    reasoning = f"Twice the carbons is 2*{carbons} = {2 * carbons}. {tail}"
    return Draft(
        question,
        hydrogens,
        "",
        reasoning,
        (2 * carbons + 2, 2 * carbons, 2 * carbons - 2, carbons, 2 * carbons + 4),
    )
