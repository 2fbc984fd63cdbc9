"""Words that turn the meaning of a question, in closed lists: what a cosine of .99 does not see."""

from __future__ import annotations

from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEGATIONS = _words(
    """
    not no never none nobody nothing nowhere neither nor cannot cant dont doesnt didnt isnt arent wasnt
    werent wont wouldnt shouldnt couldnt havent hasnt hadnt without unable
    """
)

_OPPOSITES = (
    "on/off enable/disable enabled/disabled activate/deactivate open/close opened/closed start/stop begin/end "
    "increase/decrease raise/lower raised/lowered buy/sell bought/sold deposit/withdraw send/receive sent/received "
    "add/remove lock/unlock locked/unlocked freeze/unfreeze block/unblock accept/decline accepted/declined "
    "approve/reject import/export encode/decode encrypt/decrypt upload/download compress/decompress "
    "before/after maximum/minimum max/min largest/smallest biggest/smallest highest/lowest longest/shortest "
    "best/worst most/least more/less more/fewer above/below over/under up/down left/right first/last "
    "early/late earliest/latest oldest/newest old/new hot/cold warm/cool fast/slow cheap/expensive "
    "cheapest/expensive inside/outside inbound/outbound incoming/outgoing internal/external public/private "
    "ascending/descending asc/desc push/pull give/take lend/borrow arrive/depart arrival/departure "
    "win/lose win/loss love/hate true/false true/untrue legal/illegal safe/dangerous safe/unsafe possible/impossible "
    "install/uninstall subscribe/unsubscribe follow/unfollow mute/unmute login/logout import/export "
    "sunrise/sunset male/female husband/wife mother/father brother/sister king/queen north/south east/west "
    "northern/southern eastern/western positive/negative plus/minus gain/loss profit/loss asset/liability "
    "debit/credit input/output client/server read/write show/hide include/exclude allow/deny allowed/forbidden "
    "hire/fire cause/effect causes/effects pros/cons advantages/disadvantages benefits/drawbacks"
)


def _opposites() -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for pair in _OPPOSITES.split():
        one, other = pair.split("/")
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return {word: frozenset(others) for word, others in found.items()}


OPPOSITES: Mapping[str, frozenset[str]] = _opposites()

# Different words for one unit. What is no unit here is compared as a word.
_UNITS = (
    "km kilometer kilometers kilometre kilometres/m meter meters metre metres/cm centimeter centimeters centimetre "
    "centimetres/mm millimeter millimeters millimetre millimetres/mile miles mi/yard yards yd/foot feet ft/inch inches/"
    "kg kilogram kilograms/g gram grams/mg milligram milligrams/lb lbs pound pounds/oz ounce ounces/"
    "ton tons tonne tonnes/stone stones/l liter liters litre litres/ml milliliter milliliters millilitre millilitres/"
    "gallon gallons/pint pints/cup cups/tablespoon tablespoons tbsp/teaspoon teaspoons tsp/second seconds sec secs/"
    "minute minutes min mins/hour hours hr hrs/day days/week weeks/month months/year years yr yrs/decade decades/"
    "century centuries/celsius centigrade/fahrenheit/kelvin/mph/kph kmh/knot knots/acre acres/hectare hectares/"
    "byte bytes/kb kilobyte kilobytes/mb megabyte megabytes/gb gigabyte gigabytes/tb terabyte terabytes/kib/mib/gib/"
    "bit bits/kbps/mbps/gbps/watt watts/kw kilowatt kilowatts/kwh/volt volts/amp amps ampere amperes/joule joules/"
    "calorie calories/kcal/hz hertz/khz/mhz/ghz/degree degrees/radian radians/percent %/ms millisecond milliseconds/"
    "usd dollar dollars $/eur euro euros €/gbp sterling £/jpy yen ¥/inr rupee rupees/cny yuan renminbi/chf franc "
    "francs/vnd dong/krw won/btc bitcoin bitcoins/eth ether ethereum/cent cents/binary/hex hexadecimal/decimal/octal"
)
UNITS: Mapping[str, str] = {word: group.split()[0] for group in _UNITS.split("/") for word in group.split()}

_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
NUMBERS: Mapping[str, str] = {
    **{word: str(value) for value, word in enumerate(_NUMBERS.split()) if word != "one"},
    "thirty": "30",
    "forty": "40",
    "fifty": "50",
    "sixty": "60",
    "seventy": "70",
    "eighty": "80",
    "ninety": "90",
    "hundred": "100",
    "thousand": "1000",
    "million": "1000000",
    "billion": "1000000000",
    "dozen": "12",
    "second": "2nd",
    "third": "3rd",
    "fourth": "4th",
    "fifth": "5th",
    "twice": "2x",
    "thrice": "3x",
    "half": "1/2",
}

# Names that people also write in lower case.
ENTITIES = _words(
    """
    monday tuesday wednesday thursday friday saturday sunday january february april june july august
    september october november december english french german spanish italian portuguese dutch russian
    chinese japanese korean arabic hindi vietnamese thai turkish swedish greek hebrew latin python
    javascript typescript java golang ruby php kotlin scala perl sql html css c++ c#
    linux windows macos android ios venus mars jupiter saturn uranus neptune pluto visa
    mastercard amex paypal
    """
)

# What a question asks for; a question of one kind is not answered by the answer to another.
ASKS: Mapping[str, str] = {
    "who": "person",
    "whose": "person",
    "whom": "person",
    "when": "time",
    "where": "place",
    "how long": "time",
    "how soon": "time",
    "how old": "age",
    "how many": "number",
    "how much": "amount",
    "how far": "distance",
    "how tall": "height",
    "how high": "height",
    "how often": "frequency",
}

TOWARDS = frozenset({"to", "into", "onto", "towards", "toward", "->", "→"})
AWAY = frozenset({"from", "off", "out"})
COMPARED = frozenset({"than", "versus", "vs"})

# Words that carry no meaning of their own for the order of the others.
FILLERS = _words(
    """
    a an the is are was were be been do does did can could will would should shall may might must have has
    had i me my mine you your yours we us our he she it its they them their this that these those of to in
    into onto on at by for from with as and or but if then than so what which who whom whose when where why
    how please tell explain describe give show let know want need like just about there here any some much
    many s t re ve ll d m whats hows wheres into towards toward versus vs off out question answer hi hello
    hey thanks thank get got
    """
)
