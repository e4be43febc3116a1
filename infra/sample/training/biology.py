"""Biology questions with numerical options."""

from __future__ import annotations

import random
from fractions import Fraction

from infra.sample.training.items import Choice
from infra.sample.training.numerical import Draft, numeric, textual, upto

_BASES = {"A": "T", "T": "A", "G": "C", "C": "G"}
_TRAITS = [
    "tall",
    "red flowers",
    "round seeds",
    "black fur",
    "long wings",
    "brown eyes",
    "smooth pods",
]
_CROSSES = {
    ("AA", "AA"): (0, 100), ("AA", "Aa"): (0, 100), ("AA", "aa"): (0, 100), ("Aa", "Aa"): (25, 75),
    ("Aa", "aa"): (50, 50), ("aa", "aa"): (100, 0),
}  # fmt: skip


@textual
def _punnett(rng: random.Random, level: int) -> Choice:
    pair, (recessive, dominant) = rng.choice(list(_CROSSES.items()))
    one, two = rng.sample(pair, 2)
    trait, letter = rng.choice(_TRAITS), rng.choice("ABDEFGHKLMNR")
    one, two = (parent.replace("A", letter).replace("a", letter.lower()) for parent in (one, two))
    wants_recessive = rng.random() < 0.5
    answer = recessive if wants_recessive else dominant
    which = "recessive" if wants_recessive else "dominant"
    question = (
        f"Allele {letter} ({trait}) is dominant over {letter.lower()}. What share of the offspring "
        f"of {one} x {two} shows the {which} form?"
    )
    wrong = rng.sample([share for share in (0, 25, 50, 75, 100) if share != answer], 3)
    first, second, third = (f"{share} percent" for share in wrong)
    return Choice(
        question,
        f"{answer} percent",
        (first, second, third),
        "Biology",
        "Genetics",
        f"The cross {one} x {two} gives {recessive} percent recessive and {dominant} "
        "percent dominant.",
    )


@numeric("Biology", "Genetics")
def _offspring(rng: random.Random, level: int) -> Draft:
    quarter, animal = (
        upto(rng, level, 2, 60),
        rng.choice(["mice", "peas", "flies", "plants", "rabbits"]),
    )
    total = 4 * quarter
    share, wants = rng.choice([(1, "recessive"), (3, "dominant")])
    question = (
        f"Two Aa parents have {total} {animal} as offspring. How many of them are expected to show "
        f"the {wants} form?"
    )
    reasoning = f"A quarter is {total}/4 = {quarter}."
    if share == 3:
        reasoning += f" Three quarters are 3*{quarter} = {3 * quarter}."
    return Draft(
        question, share * quarter, "", reasoning, (quarter, 2 * quarter, 3 * quarter, total)
    )


@numeric("Biology", "Molecular biology")
def _codons(rng: random.Random, level: int) -> Draft:
    n = upto(rng, level, 4, 120)
    kind = rng.choice(["An mRNA", "A coding region", "A transcript", "An open reading frame"])
    question = f"{kind} of {3 * n} bases without a stop codon codes for how many amino acids?"
    return Draft(
        question,
        n,
        "amino acids",
        f"Three bases make a codon: {3 * n}/3 = {n}.",
        (3 * n, n + 1, n + 3, 2 * n),
    )


@numeric("Biology", "Molecular biology")
def _base_share(rng: random.Random, level: int) -> Draft:
    share = rng.randint(5, 45)
    first, second = rng.choice(
        [("A", "T"), ("A", "G"), ("G", "C"), ("C", "A"), ("T", "C"), ("G", "T")]
    )
    source = rng.choice(
        ["bacterium", "virus", "yeast", "plant", "fish", "bird", "mammal", "fungus"]
    )
    question = (
        f"In the DNA of a {source} {share} percent of the bases are {first}. "
        f"What is the share of {second}?"
    )
    if _BASES[first] == second:
        reasoning = f"{first} pairs with {second}, so the shares are equal: {share}."
        return Draft(
            question, share, "percent", reasoning, (50 - share, 100 - share, share + 5, 2 * share)
        )
    reasoning = f"{first} and {second} do not pair, so both make half: 50-{share} = {50 - share}."
    return Draft(
        question, 50 - share, "percent", reasoning, (share, 100 - share, 55 - share, 2 * share)
    )


@numeric("Biology", "Cell biology")
def _doubling(rng: random.Random, level: int) -> Draft:
    start, n, minutes = upto(rng, level, 2, 25), rng.randint(1, 4), rng.choice([10, 15, 20, 30])
    question = (
        f"A dish holds {start} bacteria that divide every {minutes} minutes. "
        f"How many are there after {n * minutes} minutes?"
    )
    steps = " ".join(f"{start * 2**k}*2 = {start * 2 ** (k + 1)}." for k in range(n))
    reasoning = f"They divide {n * minutes}/{minutes} = {n} times. {steps}"
    end = start * 2**n
    return Draft(question, end, "", reasoning, (start * n, 2 * end, start + n, end + start))


@numeric("Biology", "Cell biology")
def _chromosomes(rng: random.Random, level: int) -> Draft:
    n = upto(rng, level, 3, 40)
    species = rng.choice(["plant", "insect", "fish", "mammal", "fern", "worm", "bird"])
    if rng.random() < 0.5:
        question = (
            f"The body cells of a {species} have {2 * n} chromosomes. How many does a gamete have?"
        )
        return Draft(
            question,
            n,
            "",
            f"Meiosis halves the number: {2 * n}/2 = {n}.",
            (2 * n, 4 * n, n + 1, n + 2),
        )
    question = f"The gametes of a {species} have {n} chromosomes. How many does a body cell have?"
    return Draft(
        question,
        2 * n,
        "",
        f"Fertilization doubles the number: 2*{n} = {2 * n}.",
        (n, 4 * n, 2 * n + 1, n + 2),
    )


@textual
def _complement(rng: random.Random, level: int) -> Choice:
    strand = "".join(rng.choice("ATGC") for _ in range(rng.randint(4, 6) + 2 * level))
    right = "".join(_BASES[base] for base in strand)
    wrong: list[str] = []
    while len(wrong) < 3:
        letters = list(right)
        for place in rng.sample(range(len(letters)), rng.randint(1, 2)):
            letters[place] = rng.choice("ATGC")
        candidate = "".join(letters)
        if candidate != right and candidate not in wrong:
            wrong.append(candidate)
    spaced = " ".join(strand)
    pairs = ", ".join(f"{base} with {_BASES[base]}" for base in strand)
    first, second, third = (" ".join(option) for option in wrong)
    return Choice(
        f"Which strand is complementary, base by base, to {spaced}?",
        " ".join(right),
        (first, second, third),
        "Biology",
        "Molecular biology",
        f"The bases pair as {pairs}.",
    )


@textual
def _dihybrid(rng: random.Random, level: int) -> Choice:
    loci = rng.randint(1, 4)
    dominant = rng.randint(1, loci)
    share = Fraction(3**dominant, 4**loci)
    letters = rng.sample("ABDEFGHKLM", loci)
    genotype = "".join(letter + letter.lower() for letter in letters)
    noun = "locus" if dominant == 1 else "loci"
    question = (
        f"In a cross {genotype} x {genotype} with unlinked genes, what share of the offspring is "
        f"dominant at exactly the first {dominant} {noun} and recessive at the others?"
    )
    pool = {Fraction(3**k, 4**n) for n in range(1, 5) for k in range(n + 1)} - {share}
    near = sorted(pool, key=lambda other: abs(other.denominator - share.denominator))[:6]
    first, second, third = (str(other) for other in rng.sample(near, 3))
    return Choice(
        question,
        str(share),
        (first, second, third),
        "Biology",
        "Genetics",
        f"Each of {dominant} loci gives 3/4 and each of {loci - dominant} gives 1/4: {share}.",
    )


@numeric("Biology", "Ecology")
def _food_chain(rng: random.Random, level: int) -> Draft:
    level = rng.choice([1, 2, 3])
    end = upto(rng, level, 2, 40)
    start = end * 10**level
    name = {1: "herbivores", 2: "first carnivores", 3: "top carnivores"}[level]
    place = rng.choice(["meadow", "lake", "forest", "sea", "steppe"])
    question = (
        f"Plants of a {place} fix {start} kJ and each level passes on 10 percent. How much reaches "
        f"the {name}?"
    )
    steps = " ".join(f"{start // 10**k}/10 = {start // 10 ** (k + 1)}." for k in range(level))
    reasoning = f"There are {level} steps. {steps}"
    return Draft(question, end, "kJ", reasoning, (10 * end, 100 * end, end + 1, 2 * end))
