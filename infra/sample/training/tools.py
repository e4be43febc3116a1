"""Functions that may be called, questions that want one or two of them, and questions that do not.

Every function can be told by its description; many are close to one another.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from infra.sample.training import chat
from infra.sample.training.formats import Document, Weight
from infra.sample.training.judge import Pick
from infra.sample.training.knowledge import FADE, knowledge_question

Arguments: TypeAlias = dict[str, str | int]

MOST_OFFERED = 16
SHARES = (45, 15, 20, 20)
"""Questions that want one call, two, none, and one whose result is used."""

_CITIES = (
    "Rome", "Oslo", "Paris", "Berlin", "Madrid", "Lisbon", "Vienna", "Prague", "Athens", "Dublin",
    "Warsaw", "Cairo", "Tokyo", "Lima", "Nairobi", "Ottawa", "Helsinki", "Budapest", "Brussels",
    "Stockholm",
)  # fmt: skip
_NAMES = (
    "Anna", "Maria", "Emma", "Lucy", "Nora", "Sara", "Julia", "Mia", "Rosa", "Ella", "Tom", "Ben",
    "David", "Leo", "Sam", "Paul", "Max", "Omar", "Ivan", "Hugo",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ROOMS = ("kitchen", "garden", "bedroom", "office", "hall", "bathroom", "cellar", "garage")
_MONEY = ("dollars", "euros", "yen", "pounds", "francs", "pesos", "rupees", "kroner")
_TONGUES = ("Spanish", "French", "German", "Italian", "Greek", "Polish", "Turkish", "Dutch")
_WORDS = (
    "bread", "water", "house", "book", "friend", "train", "garden", "number", "city", "money",
    "river", "tree", "window", "school", "music", "winter",
)  # fmt: skip
_DISHES = (
    "soup", "pasta", "rice", "bread", "pancakes", "salad", "apple cake", "pizza", "curry", "fish",
    "tomato sauce", "dumplings",
)  # fmt: skip
_MESSAGES = (
    "dinner is ready", "the train is late", "I will be home at six", "the meeting is over",
    "the books are here", "I cannot come", "the key is in the garden", "the bus has left",
    "we need more bread", "the shop is closed", "the flowers are for her", "it is raining",
)  # fmt: skip
_EVENTS = (
    "a meeting",
    "a lesson",
    "a party",
    "a walk",
    "a dinner",
    "a concert",
    "a game",
    "a call",
)
_TITLES_FIRST = ("Blue", "Silent", "Golden", "Long", "Last", "Red", "Winter", "Little", "Old")
_TITLES = ("River", "Night", "Garden", "Road", "Summer", "Morning", "Train", "Moon", "House")
_FIRMS_FIRST = ("Nor", "Bel", "Tar", "Lum", "Ver", "Kal", "Sol", "Mar", "Dor", "Fen")
_FIRMS = ("tek", "dan", "max", "mond", "line", "star", "field", "corp", "ex", "berg")


def _time(rng: random.Random) -> str:
    return f"{rng.randint(0, 23)}:{rng.choice(['00', '05', '10', '15', '20', '30', '40', '45'])}"


def _two(rng: random.Random, names: Sequence[str]) -> tuple[str, str]:
    first, second = rng.sample(list(names), 2)
    return first, second


class Wanted(NamedTuple):
    """A question that wants one call.

    Attributes:
        question: What the user says.
        arguments: What the call has to name.
        result: What the function hands back.
        value: The part of it that an answer has to have.
        answer: What is said with it.
    """

    question: str
    arguments: Arguments
    result: dict[str, str | int]
    value: str
    answer: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that may be called."""

    name: str
    description: str
    types: Mapping[str, str]
    """Its arguments, all of which are required → their JSON types."""

    ask: Callable[[random.Random], Wanted]

    @property
    def listed(self) -> dict[str, Any]:
        """What the model is shown of it."""
        return {
            "name": self.name,
            "description": self.description,
            "parameters": {
                "type": "object",
                "properties": {name: {"type": kind} for name, kind in self.types.items()},
                "required": list(self.types),
            },
        }


TOOLS: dict[str, Tool] = {}


def _tool(
    name: str, description: str, /, **types: str
) -> Callable[[Callable[[random.Random], Wanted]], Callable[[random.Random], Wanted]]:
    def register(ask: Callable[[random.Random], Wanted]) -> Callable[[random.Random], Wanted]:
        TOOLS[name] = Tool(name, description, types, ask)
        return ask

    return register


def _of_one(
    stems: Sequence[str],
    argument: str,
    values: Sequence[str],
    result: str,
    found: Callable[[random.Random], str | int],
    answer: str,
) -> Callable[[random.Random], Wanted]:
    """Questions with one argument, which stands in them as it is."""

    def ask(rng: random.Random) -> Wanted:
        about, value = rng.choice(values), found(rng)
        return Wanted(
            rng.choice(stems).format(about), {argument: about}, {result: value}, str(value),
            answer.format(about, value),
        )  # fmt: skip

    return ask


def _kind_of(*values: str) -> Callable[[random.Random], str]:
    return lambda rng: rng.choice(values)


def _number(low: int, high: int) -> Callable[[random.Random], int]:
    return lambda rng: rng.randint(low, high)


_tool("get_weather", "Current weather in a city.", city="string")(
    _of_one(
        ("What is the weather in {}?", "How is the weather in {} now?", "Is it raining in {}?"),
        "city", _CITIES, "weather", _kind_of("rain", "sun", "snow", "fog", "wind", "clouds"),
        "The weather in {} is {}.",
    )
)  # fmt: skip
_tool("get_temperature", "Current temperature in a city.", city="string")(
    _of_one(
        ("How warm is it in {}?", "How cold is it in {} now?", "What is the temperature in {}?"),
        "city", _CITIES, "degrees", _number(-15, 38), "In {} it is {} degrees.",
    )
)  # fmt: skip
_tool("get_time", "Local time in a city.", city="string")(
    _of_one(
        ("What time is it in {}?", "How late is it in {}?", "Tell me the time in {}."),
        "city", _CITIES, "time", _time, "In {} it is {}.",
    )
)  # fmt: skip
_tool("get_population", "Number of people in a city.", city="string")(
    _of_one(
        ("How many people live in {}?", "What is the population of {}?", "How large is {}?"),
        "city", _CITIES, "people", _number(100, 9999), "{} has {} thousand people.",
    )
)  # fmt: skip
_tool("get_traffic", "Traffic on the roads of a city.", city="string")(
    _of_one(
        ("How is the traffic in {}?", "Are the roads of {} full?", "Are there jams in {}?"),
        "city", _CITIES, "minutes", _number(2, 95), "The delay in {} is {} minutes.",
    )
)  # fmt: skip
_tool("find_recipe", "A recipe for a dish.", dish="string")(
    _of_one(
        ("How do I make {}?", "I want to cook {}.", "Find a recipe for {}."),
        "dish", _DISHES, "recipe", _number(100, 999), "For {} take recipe {}.",
    )
)  # fmt: skip
_tool("get_phone_number", "The phone number of a person.", name="string")(
    _of_one(
        ("What is the phone number of {}?", "How can I call {}?", "Give me the number of {}."),
        "name", _NAMES, "number", _number(10000, 99999), "The number of {} is {}.",
    )
)  # fmt: skip
_tool("get_birthday", "The birthday of a person.", name="string")(
    _of_one(
        ("When is the birthday of {}?", "When was {} born?", "On what day was {} born?"),
        "name", _NAMES, "day", lambda rng: f"{rng.choice(['May', 'June', 'July'])} "
        f"{rng.randint(1, 30)}", "The birthday of {} is {}.",
    )
)  # fmt: skip
_tool("turn_on_light", "Turns on the light in a room.", room="string")(
    _of_one(
        ("Turn on the light in the {}.", "It is dark in the {}.", "I need light in the {}."),
        "room", _ROOMS, "light", _kind_of("on"), "The light in the {} is {}.",
    )
)  # fmt: skip
_tool("turn_off_light", "Turns off the light in a room.", room="string")(
    _of_one(
        ("Turn off the light in the {}.", "No more light in the {}, please.",
         "Make it dark in the {}."),
        "room", _ROOMS, "light", _kind_of("off"), "The light in the {} is {}.",
    )
)  # fmt: skip
_tool("lock_door", "Locks the door of a room.", room="string")(
    _of_one(
        ("Lock the door of the {}.", "Nobody may enter the {}.", "Close up the {}."),
        "room", _ROOMS, "door", _kind_of("locked"), "The door of the {} is {}.",
    )
)  # fmt: skip
_tool("define_word", "What a word means.", word="string")(
    _of_one(
        ("What does {} mean?", "Explain the word {}.", "Look up {}."),
        "word", _WORDS, "page", _number(1, 900), "The word {} is on page {}.",
    )
)  # fmt: skip


@_tool("get_forecast", "Weather in a city on a later day.", city="string", day="string")
def _forecast(rng: random.Random) -> Wanted:
    city, day = rng.choice(_CITIES), rng.choice(_DAYS)
    found = rng.choice(["rain", "sun", "snow", "fog", "wind", "clouds"])
    stem = rng.choice(
        ["What will the weather be in {} on {}?", "Will it rain in {} on {}?",
         "How does the weather in {} look for {}?"]
    )  # fmt: skip
    return Wanted(stem.format(city, day), {"city": city, "day": day}, {"weather": found}, found,
                  f"On {day} the weather in {city} is {found}.")  # fmt: skip


def _between(
    stems: Sequence[str], result: str, found: Callable[[random.Random], str | int], answer: str
) -> Callable[[random.Random], Wanted]:
    def ask(rng: random.Random) -> Wanted:
        one, other = _two(rng, _CITIES)
        value = found(rng)
        return Wanted(
            rng.choice(stems).format(one, other), {"origin": one, "destination": other},
            {result: value}, str(value), answer.format(one, other, value),
        )  # fmt: skip

    return ask


_tool("find_train", "Next train between cities.", origin="string", destination="string")(
    _between(
        ("When does the next train go from {} to {}?", "I take the train from {} to {}.",
         "Find a train from {} to {}."),
        "departure", _time, "The train from {} to {} goes at {}.",
    )
)  # fmt: skip
_tool("find_flight", "Price of a flight between cities.", origin="string", destination="string")(
    _between(
        ("What does a flight from {} to {} cost?", "I want to fly from {} to {}.",
         "Find a flight from {} to {}."),
        "price", _number(40, 990), "The flight from {} to {} costs {}.",
    )
)  # fmt: skip
_tool("get_distance", "Distance between cities.", origin="string", destination="string")(
    _between(
        ("How far is it from {} to {}?", "What is the distance from {} to {}?",
         "How many km is it from {} to {}?"),
        "km", _number(80, 9800), "From {} to {} it is {} km.",
    )
)  # fmt: skip


@_tool("convert_currency", "Turns an amount of money into another currency.",
       amount="integer", origin="string", target="string")  # fmt: skip
def _convert(rng: random.Random) -> Wanted:
    one, other = _two(rng, _MONEY)
    amount, found = rng.randint(2, 999), rng.randint(2, 9999)
    stem = rng.choice(
        ["How much is {} {} in {}?", "Turn {} {} into {}.", "I have {} {}. What is that in {}?"]
    )
    return Wanted(
        stem.format(amount, one, other), {"amount": amount, "origin": one, "target": other},
        {"amount": found}, str(found), f"That is {found} {other}.",
    )  # fmt: skip


@_tool("set_alarm", "Sets an alarm at a time of day.", time="string")
def _alarm(rng: random.Random) -> Wanted:
    time, number = _time(rng), rng.randint(1, 99)
    stem = rng.choice(["Wake me at {}.", "Set an alarm for {}.", "I have to get up at {}."])
    return Wanted(stem.format(time), {"time": time}, {"alarm": number}, str(number),
                  f"Alarm {number} is set for {time}.")  # fmt: skip


@_tool("set_timer", "Counts down some minutes.", minutes="integer")
def _timer(rng: random.Random) -> Wanted:
    minutes, number = rng.randint(1, 120), rng.randint(1, 99)
    stem = rng.choice(
        ["Tell me when {} minutes are over.", "Set a timer of {} minutes.",
         "The eggs need {} minutes."]
    )  # fmt: skip
    return Wanted(stem.format(minutes), {"minutes": minutes}, {"timer": number}, str(number),
                  f"Timer {number} runs for {minutes} minutes.")  # fmt: skip


@_tool("send_message", "Sends a message to a person.", name="string", text="string")
def _message(rng: random.Random) -> Wanted:
    name, text, number = rng.choice(_NAMES), rng.choice(_MESSAGES), rng.randint(100, 999)
    stem = rng.choice(["Tell {} that {}.", "Write to {} that {}.", "Let {} know that {}."])
    return Wanted(stem.format(name, text), {"name": name, "text": text}, {"message": number},
                  str(number), f"Message {number} went to {name}.")  # fmt: skip


@_tool("create_event", "Puts something into the calendar.", title="string", day="string")
def _event(rng: random.Random) -> Wanted:
    title, day, number = rng.choice(_EVENTS), rng.choice(_DAYS), rng.randint(100, 999)
    stem = rng.choice(
        ["Put {} on {} into my calendar.", "Plan {} on {}.", "I have {} on {}. Note it down."]
    )
    title_alone = title.removeprefix("a ")
    return Wanted(
        stem.format(title, day), {"title": title_alone, "day": day}, {"event": number},
        str(number), f"Event {number} is on {day}.",
    )  # fmt: skip


@_tool("book_table", "Books a table in a restaurant.", people="integer", time="string")
def _table(rng: random.Random) -> Wanted:
    people, time, number = rng.randint(2, 12), _time(rng), rng.randint(1, 60)
    stem = rng.choice(
        ["Book a table for {} at {}.", "We are {} and want to eat at {}.",
         "Get us a table for {} people at {}."]
    )  # fmt: skip
    return Wanted(stem.format(people, time), {"people": people, "time": time}, {"table": number},
                  str(number), f"Table {number} is booked for {time}.")  # fmt: skip


@_tool("find_hotel", "Price of a hotel in a city.", city="string", nights="integer")
def _hotel(rng: random.Random) -> Wanted:
    city, nights, price = rng.choice(_CITIES), rng.randint(2, 21), rng.randint(60, 990)
    stem = rng.choice(
        ["I need a room in {} for {} nights.", "Find a hotel in {} for {} nights.",
         "Where can I sleep in {} for {} nights?"]
    )  # fmt: skip
    return Wanted(stem.format(city, nights), {"city": city, "nights": nights}, {"price": price},
                  str(price), f"The hotel in {city} costs {price}.")  # fmt: skip


@_tool("set_heating", "Sets the heating of a room.", room="string", degrees="integer")
def _heating(rng: random.Random) -> Wanted:
    room, degrees = rng.choice(_ROOMS), rng.randint(12, 28)
    stem = rng.choice(
        ["Heat the {} to {} degrees.", "I want the {} at {} degrees.",
         "Set the heating of the {} to {} degrees."]
    )  # fmt: skip
    minutes = rng.randint(5, 90)
    return Wanted(
        stem.format(room, degrees), {"room": room, "degrees": degrees}, {"minutes": minutes},
        str(minutes), f"The {room} will be warm in {minutes} minutes.",
    )  # fmt: skip


@_tool("play_song", "Plays a song.", title="string")
def _song(rng: random.Random) -> Wanted:
    title, minutes = f"{rng.choice(_TITLES_FIRST)} {rng.choice(_TITLES)}", rng.randint(2, 9)
    stem = rng.choice(["Play {}.", "I want to hear {}.", "Put on the song {}."])
    return Wanted(stem.format(title), {"title": title}, {"minutes": minutes}, str(minutes),
                  f"{title} plays for {minutes} minutes.")  # fmt: skip


@_tool("find_book", "Where a book stands in the library.", title="string")
def _book(rng: random.Random) -> Wanted:
    title, shelf = f"{rng.choice(_TITLES_FIRST)} {rng.choice(_TITLES)}", rng.randint(1, 99)
    stem = rng.choice(
        ["Where does the book {} stand?", "I want to read {}.", "Do you have the book {}?"]
    )
    return Wanted(stem.format(title), {"title": title}, {"shelf": shelf}, str(shelf),
                  f"{title} stands on shelf {shelf}.")  # fmt: skip


@_tool("get_stock_price", "What a share of a company costs.", company="string")
def _stock(rng: random.Random) -> Wanted:
    firm, price = rng.choice(_FIRMS_FIRST) + rng.choice(_FIRMS), rng.randint(3, 999)
    stem = rng.choice(
        ["What does a share of {} cost?", "How are the shares of {}?", "The stock price of {}?"]
    )
    return Wanted(stem.format(firm), {"company": firm}, {"price": price}, str(price),
                  f"A share of {firm} costs {price}.")  # fmt: skip


@_tool("get_order_status", "When an order will arrive.", order="integer")
def _order(rng: random.Random) -> Wanted:
    order, day = rng.randint(1000, 99999), rng.choice(_DAYS)
    stem = rng.choice(["Where is my order {}?", "When does order {} come?", "Has {} been sent?"])
    return Wanted(stem.format(order), {"order": order}, {"day": day}, day,
                  f"Order {order} comes on {day}.")  # fmt: skip


@_tool("cancel_order", "Cancels an order.", order="integer")
def _cancel(rng: random.Random) -> Wanted:
    order, money = rng.randint(1000, 99999), rng.randint(5, 500)
    stem = rng.choice(["Cancel order {}.", "I do not want order {} any more.", "Take back {}."])
    return Wanted(stem.format(order), {"order": order}, {"refund": money}, str(money),
                  f"Order {order} is cancelled, you get {money} back.")  # fmt: skip


@_tool("translate", "Translates a word.", word="string", language="string")
def _translate(rng: random.Random) -> Wanted:
    word, language = rng.choice(_WORDS), rng.choice(_TONGUES)
    found = "".join(rng.choice("aeioubdklmnprst") for _ in range(rng.randint(4, 7)))
    stem = rng.choice(
        ["How do you say {} in {}?", "Translate {} into {}.", "What is the word for {} in {}?"]
    )
    return Wanted(stem.format(word, language), {"word": word, "language": language},
                  {"word": found}, found, f"In {language} it is {found}.")  # fmt: skip


THANKS = "You are welcome."
NOTHING = "There is nothing to call."
_POLITE = (
    "Thank you{}.", "Thanks{}, that is all.", "Good morning{}.", "That was very helpful{}.",
    "Goodbye{}, see you soon.", "I am happy with that{}.", "Hello{}.", "No more questions{}.",
    "Fine{}, I need nothing else.", "You did that well{}.",
)  # fmt: skip


def _idle(rng: random.Random) -> tuple[str, str]:
    """Something that wants no call, and what is said to it."""
    if rng.random() < 0.5:
        item = knowledge_question(rng, None, FADE)
        return item.question, item.correct
    name = rng.choice(["", *(f", {one}" for one in _NAMES)])
    return rng.choice(_POLITE).format(name), THANKS


def row(pick: Pick, rng: random.Random, offered: int | None = None) -> dict[str, Any]:
    """A row of function calling.

    Args:
        pick: Which questions may be drawn.
        rng: The source of chance.
        offered: How many functions; just those that are needed, or one, when left out.
    """
    kind = rng.choices(["one", "two", "none", "loop"], SHARES)[0]
    found: dict[str, Any] = pick(lambda rng: _Drawn(_row(kind, pick, rng, list(TOOLS))), rng).row
    most = offered or len(found["tools"])
    others = [one for one in TOOLS if one not in found["tools"]]
    names = found["tools"] + rng.sample(others, max(0, most - len(found["tools"])))
    rng.shuffle(names)
    return found | {"tools": [TOOLS[name].listed for name in names]}


class _Drawn(NamedTuple):
    row: dict[str, Any]

    @property
    def question(self) -> str:
        return str(self.row["question"])


def _row(kind: str, pick: Pick, rng: random.Random, among: Sequence[str]) -> dict[str, Any]:
    """A row whose parts may be drawn each; whether it may be as a whole, its caller sees to."""
    if kind == "none":
        question, said = _idle(rng)
        return {"question": question, "tools": [rng.choice(among)], "must_call": [],
                "said": said}  # fmt: skip
    names = [rng.choice(among) for _ in range(2 if kind == "two" else 1)]
    if kind == "loop" and rng.random() < 0.2:
        names.append(rng.choice(among))
    wanted: list[Wanted] = [pick(TOOLS[name].ask, rng) for name in names]
    found: dict[str, Any] = {
        "question": " ".join(one.question for one in wanted),
        "tools": list(dict.fromkeys(names)),
        "must_call": [
            {"name": name, "arguments": one.arguments}
            for name, one in zip(names, wanted, strict=True)
        ],
    }
    if kind == "loop":
        found |= {
            "results": [one.result for one in wanted],
            "final": [one.value for one in wanted],
            "said": " ".join(one.answer for one in wanted),
        }
    return found


def document(pick: Pick, rng: random.Random, fewest: int, most: int) -> Document:
    """A training document with so many functions offered: some questions, with what follows each.

    One prompt with its functions is long and teaches little; so it is asked more than once.
    """
    offered = rng.sample(list(TOOLS), rng.randint(fewest, most))
    questions = rng.choices((1, 2, 3, 4), (40, 20, 20, 20))[0]
    document = chat.opening([TOOLS[name].listed for name in offered])
    for number in range(1, questions + 1):
        document += _exchange(pick, rng, offered, last=number == questions)
    return document


def _exchange(pick: Pick, rng: random.Random, offered: Sequence[str], *, last: bool) -> Document:
    kind = rng.choices(["one", "two", "none", "loop"], SHARES)[0]
    # Now and then what would be needed is not offered.
    among = list(offered) if rng.random() < 0.94 else [n for n in TOOLS if n not in offered]
    found: dict[str, Any] = pick(lambda rng: _Drawn(_row(kind, pick, rng, among)), rng).row
    begun = chat.user(found["question"], 0)
    calls = found["must_call"]
    if not calls:
        return [*begun, *chat.assistant(found["said"], Weight.TEXT, last=last)]
    if among != list(offered):
        return [*begun, *chat.assistant(NOTHING, Weight.TEXT, last=last)]
    said = chat.calls_text(calls)
    if "results" not in found:
        return [*begun, *chat.assistant(said, 2 * Weight.TEXT, last=last)]
    return [
        *begun,
        *chat.assistant(said, 2 * Weight.TEXT, last=False),
        *chat.handed_back([json.dumps(one) for one in found["results"]]),
        *chat.assistant(found["said"], Weight.TEXT, last=last),
    ]
