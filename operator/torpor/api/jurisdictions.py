"""Where data may lie: ISO 3166-1 alpha-2 countries, and the two unions that laws speak of.

Membership as of 2026: the EU has 27 members; the EEA is the EU with Iceland, Liechtenstein and Norway.
"""

from typing import Annotated

from pydantic import AfterValidator, Field

from torpor.api.words import Rule, rules_of

_COUNTRIES = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT
BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH
ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT
HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS
LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI
NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG
SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG
UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""
_EU = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"

COUNTRIES: tuple[str, ...] = tuple(_COUNTRIES.split())
EU = frozenset(_EU.split())
EEA = EU | {"IS", "LI", "NO"}
UNIONS: dict[str, frozenset[str]] = {"EU": EU, "EEA": EEA}


def lies_within(place: str, wanted: str) -> bool:
    """Say whether everything in `place` is also in `wanted`; both are a country, EU or EEA."""
    return UNIONS.get(place, frozenset({place})) <= UNIONS.get(wanted, frozenset({wanted}))


_CODES = (*COUNTRIES, *UNIONS)


def _known(code: str) -> str:
    if code not in _CODES:
        raise ValueError(f"{code!r} is not an ISO 3166-1 alpha-2 country code, EU or EEA")
    return code


Jurisdiction = Annotated[
    str,
    AfterValidator(_known),
    Field(
        min_length=2,
        max_length=8,
        json_schema_extra=rules_of(
            Rule(
                f"self in {list(_CODES)!r}",
                "must be an ISO 3166-1 alpha-2 country code such as DE, or EU or EEA",
                expression='"\'" + self + "\' is not an ISO 3166-1 alpha-2 country code such as DE,'
                ' nor EU or EEA"',
            )
        ),
    ),
]
