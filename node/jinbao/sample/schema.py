"""The legacy business schema of a sample city: LB codes as columns, numbers as dates, padded text.

AB01 employers, AC01 persons, AC02 participations (AAE140 110 pension, 210 unemployment),
AC43 monthly contributions, IC10 pension benefits, JC01 unemployment registrations, JC10
unemployment benefits. Local codes stand in AAC004 (M, F) and AAC028, BJC101 (Y, N).
"""

from __future__ import annotations

_DATE, _MONTH, _MONEY, _SUM = "NUMERIC(8)", "NUMERIC(6)", "NUMERIC(10,2)", "NUMERIC(16,2)"

TABLES: dict[str, dict[str, str]] = {
    "AB01": {
        "AAB001": "VARCHAR(20)", "AAB003": "VARCHAR(20)", "AAB004": "VARCHAR(100)", "AAB301": "CHAR(6)",
        "AAB019": "VARCHAR(3)", "AAB020": "VARCHAR(3)", "AAB021": "VARCHAR(2)", "AAB022": "VARCHAR(4)",
        "AAB065": "VARCHAR(1)", "AAB051": "VARCHAR(1)", "AAB050": _DATE, "AAB033": "VARCHAR(1)",
        "AAB034": "VARCHAR(10)", "AAE007": "VARCHAR(6)", "BAB103": _SUM, "BAB104": "NUMERIC(4)",
    },
    "AC01": {
        "AAC001": "VARCHAR(20)", "AAC002": "VARCHAR(20)", "AAC003": "CHAR(50)", "AAC004": "CHAR(1)",
        "AAC005": "VARCHAR(2)", "AAC006": _DATE, "AAC007": _DATE, "AAC009": "VARCHAR(2)",
        "AAC011": "VARCHAR(2)", "AAC012": "VARCHAR(2)", "AAC028": "CHAR(1)", "AAB301": "CHAR(6)",
    },
    "AC02": {
        "AAC001": "VARCHAR(20)", "AAE140": "VARCHAR(3)", "AAB001": "VARCHAR(20)", "AAC008": "VARCHAR(1)",
        "AAC031": "VARCHAR(1)", "AAC049": _MONTH, "AAC032": _MONTH, "AAC013": "VARCHAR(2)",
        "AAC019": "VARCHAR(4)", "AAE200": "NUMERIC(4)", "AAE201": "NUMERIC(4)", "BIC101": "NUMERIC(4)",
        "AAC040": _MONEY, "AAE180": _MONEY, "AAE240": "NUMERIC(14,2)", "BIC104": "NUMERIC(14,2)",
        "AAB191": _DATE,
    },
    "AC43": {
        "AAC001": "VARCHAR(20)", "AAE140": "VARCHAR(3)", "AAE003": _MONTH, "AAB001": "VARCHAR(20)",
        "BIC102": _MONEY, "BIC103": _MONEY, "AAB180": _MONEY, "BAB102": _MONEY,
    },
    "IC10": {
        "AAC001": "VARCHAR(20)", "AAB001": "VARCHAR(20)", "AIC161": "VARCHAR(2)", "AIC162": _DATE,
        "AIC160": _MONTH, "AAE116": "VARCHAR(1)", "AAE201": "NUMERIC(4)", "AAE200": "NUMERIC(4)",
        "AIC164": "NUMERIC(6,4)", "AIC240": _MONEY, "BIC201": _MONEY, "AIC242": _MONEY, "BIC202": _MONEY,
        "AIC263": _MONEY, "BIC203": _MONEY, "BIC204": _MONEY, "AAE240": "NUMERIC(14,2)",
        "AAE145": "VARCHAR(2)", "AAA071": "CHAR(1)", "BAC201": "CHAR(1)",
    },
    "JC01": {
        "AAC001": "VARCHAR(20)", "AJC090": _DATE, "AJC093": "VARCHAR(2)", "AJC094": _DATE, "BJC101": "CHAR(1)",
    },
    "JC10": {
        "AAC001": "VARCHAR(20)", "AJC090": _DATE, "BJC103": _MONTH, "AJC097": "NUMERIC(3)",
        "AJC098": "NUMERIC(3)", "AJC099": "NUMERIC(3)", "BJC102": _MONEY,
    },
}  # fmt: skip
"""Tables and columns with their SQL types, as a city's vendor declared them."""

KEYS: dict[str, tuple[str, ...]] = {
    "AB01": ("AAB001",),
    "AC01": ("AAC001",),
    "AC02": ("AAC001", "AAE140"),
    "AC43": ("AAC001", "AAE140", "AAE003"),
    "IC10": ("AAC001",),
    "JC01": ("AAC001",),
    "JC10": ("AAC001",),
}
"""Primary keys."""
