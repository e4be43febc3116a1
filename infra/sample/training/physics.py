"""Physics questions with numerical options."""

from __future__ import annotations

import random

from infra.sample.training.numerical import Draft, numeric, upto

_BODIES = ["body", "car", "train", "cyclist", "ball", "cart", "boat", "drone", "runner", "sled"]
_MATTER = ["body", "crate", "stone", "cart", "ball", "block", "sled", "barrel", "disc", "statue"]
_DEVICES = ["lamp", "heater", "wire", "coil", "motor", "resistor", "bulb", "kettle", "fan", "pump"]


@numeric("Physics", "Mechanics")
def _distance(rng: random.Random, level: int) -> Draft:
    v, t, body = upto(rng, level, 2, 19), upto(rng, level, 2, 12), rng.choice(_BODIES)
    question = rng.choice(
        [
            f"A {body} moves at {v} m/s for {t} s. How far does it travel?",
            f"What distance does a {body} cover in {t} s at a constant speed of {v} m/s?",
        ]
    )
    return Draft(
        question,
        v * t,
        "m",
        f"Distance is speed times time: {v}*{t} = {v * t}.",
        (v + t, v * t + v, v * t - t, 2 * v * t),
    )


@numeric("Physics", "Mechanics")
def _speed(rng: random.Random, level: int) -> Draft:
    v, t, body = upto(rng, level, 2, 19), upto(rng, level, 2, 12), rng.choice(_BODIES)
    question = rng.choice(
        [
            f"A {body} covers {v * t} m in {t} s at constant speed. What is its speed?",
            f"What is the speed of a {body} that needs {t} s for {v * t} m?",
        ]
    )
    return Draft(
        question,
        v,
        "m/s",
        f"Speed is distance over time: {v * t}/{t} = {v}.",
        (v + 1, v + t, abs(v - t), v + 3),
    )


@numeric("Physics", "Mechanics")
def _acceleration(rng: random.Random, level: int) -> Draft:
    a, t, start, body = (
        upto(rng, level, 2, 9),
        upto(rng, level, 2, 9),
        upto(rng, level, 1, 9),
        rng.choice(_BODIES),
    )
    end = start + a * t
    question = (
        f"A {body} speeds up evenly from {start} m/s to {end} m/s in {t} s. "
        "What is its acceleration?"
    )
    reasoning = (
        f"The change of speed is {end}-{start} = {a * t}. Acceleration is change over time: "
        f"{a * t}/{t} = {a}."
    )
    return Draft(question, a, "m/s^2", reasoning, (a + 1, a + start, a * t, a + 2))


@numeric("Physics", "Mechanics")
def _final_speed(rng: random.Random, level: int) -> Draft:
    a, t, start, body = (
        upto(rng, level, 2, 9),
        upto(rng, level, 2, 9),
        upto(rng, level, 1, 20),
        rng.choice(_BODIES),
    )
    end = start + a * t
    question = (
        f"A {body} at {start} m/s accelerates at {a} m/s^2 for {t} s. What is its final speed?"
    )
    reasoning = f"The gain is {a}*{t} = {a * t}. The final speed is {start}+{a * t} = {end}."
    return Draft(question, end, "m/s", reasoning, (a * t, start + a + t, end + a, start * a))


@numeric("Physics", "Mechanics")
def _force(rng: random.Random, level: int) -> Draft:
    m, a, body = upto(rng, level, 2, 25), upto(rng, level, 2, 9), rng.choice(_MATTER)
    question = rng.choice(
        [
            f"Which force gives a {body} of {m} kg an acceleration of {a} m/s^2?",
            f"A {body} of mass {m} kg accelerates at {a} m/s^2. What is the net force on it?",
        ]
    )
    return Draft(
        question,
        m * a,
        "N",
        f"Force is mass times acceleration: {m}*{a} = {m * a}.",
        (m + a, m * a + m, m * a + 10, 10 * m),
    )


@numeric("Physics", "Mechanics")
def _momentum(rng: random.Random, level: int) -> Draft:
    m, v, body = upto(rng, level, 2, 15), upto(rng, level, 2, 15), rng.choice(_MATTER)
    question = f"What is the momentum of a {body} of {m} kg that moves at {v} m/s?"
    return Draft(
        question,
        m * v,
        "kg m/s",
        f"Momentum is mass times speed: {m}*{v} = {m * v}.",
        (m + v, m * v * v, m * v + v, m * v - m),
    )


@numeric("Physics", "Mechanics")
def _kinetic_energy(rng: random.Random, level: int) -> Draft:
    m, v, body = 2 * upto(rng, level, 1, 10), upto(rng, level, 2, 9), rng.choice(_MATTER)
    energy = m // 2 * v * v
    question = f"What is the kinetic energy of a {body} of {m} kg at {v} m/s?"
    reasoning = (
        f"Kinetic energy is half the mass times the speed squared: {m // 2}*{v * v} = {energy}."
    )
    return Draft(question, energy, "J", reasoning, (2 * energy, m * v, m // 2 * v, energy + m))


@numeric("Physics", "Mechanics")
def _potential_energy(rng: random.Random, level: int) -> Draft:
    m, h, body = upto(rng, level, 2, 12), upto(rng, level, 2, 12), rng.choice(_MATTER)
    energy = 10 * m * h
    question = (
        f"A {body} of {m} kg is lifted by {h} m. With g = 10 m/s^2, how much potential energy does "
        "it gain?"
    )
    reasoning = f"The energy is m*g*h: {m}*10*{h} = {energy}."
    return Draft(question, energy, "J", reasoning, (m * h, 10 * (m + h), energy + 10, energy - 20))


@numeric("Physics", "Mechanics")
def _power(rng: random.Random, level: int) -> Draft:
    p, t, device = upto(rng, level, 3, 40), upto(rng, level, 2, 9), rng.choice(_DEVICES)
    question = f"A {device} converts {p * t} J in {t} s. What is its power?"
    return Draft(
        question,
        p,
        "W",
        f"Power is energy over time: {p * t}/{t} = {p}.",
        (p * t, p + t, p + 1, p + 5),
    )


@numeric("Physics", "Electromagnetism")
def _voltage(rng: random.Random, level: int) -> Draft:
    i, r, device = upto(rng, level, 2, 12), upto(rng, level, 2, 20), rng.choice(_DEVICES)
    question = rng.choice(
        [
            f"A current of {i} A flows through a {device} of {r} ohm. "
            "What is the voltage across it?",
            f"Which voltage drives {i} A through a {device} of {r} ohm?",
        ]
    )
    return Draft(
        question,
        i * r,
        "V",
        f"By Ohm's law U = I*R: {i}*{r} = {i * r}.",
        (i + r, i * i * r, i * r + i, i * r - r),
    )


@numeric("Physics", "Electromagnetism")
def _current(rng: random.Random, level: int) -> Draft:
    i, r, device = upto(rng, level, 2, 12), upto(rng, level, 2, 20), rng.choice(_DEVICES)
    question = f"A {device} of {r} ohm is connected to {i * r} V. What current flows?"
    return Draft(
        question, i, "A", f"By Ohm's law I = U/R: {i * r}/{r} = {i}.", (r, i + 1, i + r, i + 2)
    )


@numeric("Physics", "Electromagnetism")
def _electric_power(rng: random.Random, level: int) -> Draft:
    u, i, device = (
        rng.choice([6, 12, 24, 110, 230, 5, 9]),
        upto(rng, level, 2, 9),
        rng.choice(_DEVICES),
    )
    question = f"A {device} draws {i} A at {u} V. What is its power?"
    return Draft(
        question,
        u * i,
        "W",
        f"Power is P = U*I: {u}*{i} = {u * i}.",
        (u + i, u * i * i, u * i + u, 2 * u * i),
    )


@numeric("Physics", "Electromagnetism")
def _series(rng: random.Random, level: int) -> Draft:
    a, b, c = upto(rng, level, 2, 60), upto(rng, level, 2, 60), upto(rng, level, 2, 60)
    total = a + b + c
    question = (
        f"Resistors of {a} ohm, {b} ohm and {c} ohm are in series. What is the total resistance?"
    )
    reasoning = f"Resistances in series add up: {a}+{b} = {a + b} and {a + b}+{c} = {total}."
    return Draft(question, total, "ohm", reasoning, (a + b, b + c, total + 10, total - 1))


@numeric("Physics", "Optics and waves")
def _wave(rng: random.Random, level: int) -> Draft:
    f, w = upto(rng, level, 2, 20), upto(rng, level, 2, 12)
    kind = rng.choice(["wave", "sound wave", "water wave", "wave on a rope"])
    question = f"A {kind} has a frequency of {f} Hz and a wavelength of {w} m. What is its speed?"
    return Draft(
        question,
        f * w,
        "m/s",
        f"Speed is frequency times wavelength: {f}*{w} = {f * w}.",
        (f + w, f * w + w, f * w - f, 2 * f * w),
    )


@numeric("Physics", "Thermodynamics")
def _density(rng: random.Random, level: int) -> Draft:
    d, v, body = upto(rng, level, 2, 20), upto(rng, level, 2, 12), rng.choice(_MATTER)
    question = f"A {body} of {v} cm^3 has a mass of {d * v} g. What is its density?"
    return Draft(
        question,
        d,
        "g/cm^3",
        f"Density is mass over volume: {d * v}/{v} = {d}.",
        (d + 1, v, d + v, d + 4),
    )


@numeric("Physics", "Thermodynamics")
def _pressure(rng: random.Random, level: int) -> Draft:
    p, a, body = upto(rng, level, 2, 40), upto(rng, level, 2, 9), rng.choice(_MATTER)
    question = f"A {body} presses with {p * a} N on {a} m^2. What is the pressure?"
    return Draft(
        question,
        p,
        "Pa",
        f"Pressure is force over area: {p * a}/{a} = {p}.",
        (p * a, p + a, p + 1, p + 6),
    )


@numeric("Physics", "Nuclear physics")
def _half_life(rng: random.Random, level: int) -> Draft:
    rest, n, h = upto(rng, level, 2, 25), rng.randint(1, 4), rng.randint(2, 12)
    start = rest * 2**n
    question = (
        f"A sample of {start} g has a half-life of {h} days. How much is left after {n * h} days?"
    )
    steps = " ".join(f"{start // 2**k}/2 = {start // 2 ** (k + 1)}." for k in range(n))
    reasoning = f"The number of half-lives is {n * h}/{h} = {n}. {steps}"
    return Draft(question, rest, "g", reasoning, (2 * rest, start // 2, rest + 1, rest + n))
